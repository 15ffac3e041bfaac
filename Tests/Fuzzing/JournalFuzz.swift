@testable import Journal
import MailModel

/// The octets as a segment; and one line written and read again, whatever its body.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  var at = 0
  while let (_, next) = JournalReader.line(in: octets, at: at) {
    precondition(next > at && next <= octets.count)
    at = next
  }
  _ = JournalLine(payload: octets[...])
  let line = JournalLine(kind: .reply, number: MessageNumber(UInt64(size)), serial: size, at: Int64(size), body: octets)
  let written = line.encoded() + octets
  guard let (read, end) = JournalReader.line(in: written, at: 0) else { preconditionFailure("a line of ours is not read") }
  precondition(read == line && end == written.count - octets.count)
  return 0
}
