import MailModel
import SMTPProtocol

/// The octets as the lines of an EHLO reply.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  let offered = SMTPCapabilities(
    ehlo: SMTPReply(code: 250, lines: text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)))
  _ = offered.size.map { $0 > 0 }
  return 0
}
