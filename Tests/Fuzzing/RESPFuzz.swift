@testable import Redis

/// What Redis says, in two pieces, and every reading of its values.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = UnsafeRawBufferPointer(start: data, count: size)
  let reader = RESPReader()
  for piece in [octets[..<(size / 2)], octets[(size / 2)...]] {
    guard reader.feed(UnsafeRawBufferPointer(rebasing: piece)) else { return 0 }
    do {
      while let value = try reader.next() { look(value) }
    } catch { return 0 }
  }
  return 0
}

private func look(_ value: RESPValue) {
  _ = (value.string, value.bytes, value.int64, value.int)
  for element in value.array ?? [] { look(element) }
}
