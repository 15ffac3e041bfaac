/// A batch's body: cut in two it comes to the same as whole.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  let whole = events([octets[...]])
  precondition(whole == events([octets[..<(size / 2)], octets[(size / 2)...]]))
  return 0
}

private func events(_ pieces: [ArraySlice<UInt8>]) -> [JSONStream.Event]? {
  var stream = JSONStream(lists: ["messages", "recipients"])
  var events: [JSONStream.Event] = []
  do {
    for piece in pieces { try stream.feed(piece) { events.append($0) } }
    try stream.finish()
    return events
  } catch { return nil }
}
