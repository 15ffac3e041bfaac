import Feedback

/// The octets as the fields of a feedback report with the reported message behind, and as a notification in JSON.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  let report =
    "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nVersion: 1\n"
  _ = FeedbackReport.read(Array(report.utf8) + octets)
  _ = FeedbackReport.read(Array("Subject: n\n\n{".utf8) + octets)
  return 0
}
