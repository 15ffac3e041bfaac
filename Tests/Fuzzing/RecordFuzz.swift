import MailModel

/// Every record that crosses a process border or rests in Redis: what is read is written and read again as the same.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  guard size > 0 else { return 0 }
  let octets = Array(UnsafeBufferPointer(start: data + 1, count: size - 1))
  switch data[0] % 6 {
  case 0:
    guard let record = try? MessageRecord(decoding: octets) else { return 0 }
    precondition((try? MessageRecord(decoding: record.encoded())) == record)
  case 1:
    guard let result = try? AttemptResult(decoding: octets[...]) else { return 0 }
    precondition((try? AttemptResult(decoding: result.encoded()[...])) == result)
  case 2: _ = try? DoneRecord(decoding: octets)
  case 3: _ = try? Route(decoding: octets)
  case 4:
    guard let content = try? MessageContent(decoding: octets) else { return 0 }
    precondition((try? MessageContent(decoding: content.encoded())) == content)
  default:
    var reader = RecordReader(octets)
    while let field = try? reader.next() { _ = (field.string, field.int64, field.int, field.bool) }
  }
  return 0
}
