import DeliveryPolicy
import MailModel

/// The wording of a refusal, of an SMTP reply and of a report.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  _ = ReplyClassification.verdict(text: text, providerName: size % 2 == 0 ? nil : "gmail")
  _ = ReplyClassification.verdict(text: "451 4.7.1 \(text)", providerName: "yahoo")
  _ = ReplyClassification.verdict(diagnostic: text, status: nil)
  let lines = text.split(separator: "\n").map(String.init)
  if !lines.isEmpty { _ = ReplyClassification.verdict(SMTPReply(code: 550, lines: lines), providerName: nil) }
  return 0
}
