@testable import Redis

/// What Redis says, in two pieces, and every reading of its values: written again they are read as the same.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = UnsafeRawBufferPointer(start: data, count: size)
  let reader = RESPReader()
  for piece in [octets[..<(size / 2)], octets[(size / 2)...]] {
    guard reader.feed(UnsafeRawBufferPointer(rebasing: piece)) else { return 0 }
    do {
      while let value = try reader.next() {
        look(value)
        precondition(again(value) == value)
      }
    } catch { return 0 }
  }
  return 0
}

private func look(_ value: RESPValue) {
  _ = (value.string, value.bytes, value.int64, value.int)
  for element in value.array ?? [] { look(element) }
}

private func again(_ value: RESPValue) -> RESPValue? {
  var octets: [UInt8] = []
  write(value, into: &octets)
  let reader = RESPReader()
  guard octets.withUnsafeBytes({ reader.feed($0) }) else { return nil }
  return (try? reader.next()) ?? nil
}

private func write(_ value: RESPValue, into octets: inout [UInt8]) {
  switch value {
  case .null: octets += Array("$-1\r\n".utf8)
  case .integer(let number): octets += Array(":\(number)\r\n".utf8)
  case .status(let text): octets += Array("+\(text)\r\n".utf8)
  case .error(let text): octets += Array("-\(text)\r\n".utf8)
  case .bulk(let bytes): octets += Array("$\(bytes.count)\r\n".utf8) + bytes + [0x0D, 0x0A]
  case .array(let values):
    octets += Array("*\(values.count)\r\n".utf8)
    for element in values { write(element, into: &octets) }
  }
}
