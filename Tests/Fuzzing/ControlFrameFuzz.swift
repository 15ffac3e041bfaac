import ControlProtocol
import NIOCore

/// What comes over a control socket, as each of its kinds of frame.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = UnsafeBufferPointer(start: data, count: size)
  read(ControlOrder.self, octets)
  read(ControlNotice.self, octets)
  read(AdminRequest.self, octets)
  read(AdminReply.self, octets)
  return 0
}

private func read<Message: Codable & Equatable>(_ kind: Message.Type, _ octets: UnsafeBufferPointer<UInt8>) {
  var buffer = ByteBuffer(bytes: octets)
  while let message = try? ControlFrame.decode(kind, from: &buffer) {
    var again = ByteBuffer()
    guard (try? ControlFrame.encode(message, into: &again)) != nil else { return }
    precondition((try? ControlFrame.decode(kind, from: &again)) == message)
  }
}
