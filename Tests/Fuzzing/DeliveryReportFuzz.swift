import Feedback

/// The octets as a whole mail, and as the status part and text of a delivery report.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  let feedback = FeedbackReport.read(octets)
  precondition(feedback.recipients.count <= 512 && feedback.hints.count <= 64)
  // The line ends of whoever passed it on do not matter, where they are no octets of a character set.
  if size < 4096, octets.allSatisfy({ $0 < 0x80 && $0 != 0x0D && $0 != 0x1B }), !octets.contains(charset) {
    precondition(FeedbackReport.read(octets.flatMap { $0 == 0x0A ? [0x0D, 0x0A] : [$0] }) == feedback, "CRLF reads otherwise")
  }
  let status = "From: mailer-daemon@a.example\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n"
  _ = FeedbackReport.read(Array(status.utf8) + octets)
  let text = "From: mailer-daemon@a.example\nSubject: failure notice\n\nThis could not be delivered:\n"
  _ = FeedbackReport.read(Array(text.utf8) + octets)
  return 0
}

private let charset = Array("charset".utf8)

extension [UInt8] {
  /// Without regard to case.
  fileprivate func contains(_ word: [UInt8]) -> Bool {
    indices.contains { at in self[at...].prefix(word.count).elementsEqual(word) { $0 | 0x20 == $1 } }
  }
}
