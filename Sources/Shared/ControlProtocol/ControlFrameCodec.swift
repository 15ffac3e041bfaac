internal import FoundationEssentials
package import NIOCore

/// Frames of a control socket: 4 octets of big-endian length, then that much JSON, at most 1 MiB.
package enum ControlFrame {
  package static let maxLength = 1 << 20

  package static func encode(_ message: some Encodable, into buffer: inout ByteBuffer) throws(ControlError) {
    do {
      let body = try JSONEncoder().encode(message)
      guard body.count <= maxLength else { throw ControlError.tooLarge(body.count) }
      buffer.writeInteger(UInt32(body.count))
      buffer.writeBytes(body)
    } catch let error as ControlError {
      throw error
    } catch {
      throw .malformed("\(error)")
    }
  }

  /// The next whole frame, or nil when more octets are needed.
  package static func decode<Message: Decodable>(_ type: Message.Type, from buffer: inout ByteBuffer) throws(ControlError)
    -> Message?
  {
    guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
    guard length <= maxLength else { throw .tooLarge(Int(length)) }
    guard buffer.readableBytes >= 4 + Int(length) else { return nil }
    buffer.moveReaderIndex(forwardBy: 4)
    let body = buffer.readBytes(length: Int(length)) ?? []
    do { return try JSONDecoder().decode(type, from: Data(body)) } catch { throw .malformed("\(error)") }
  }
}

package enum ControlError: Error, Sendable, Equatable, CustomStringConvertible {
  case tooLarge(Int)
  case malformed(String)
  case closed
  case versionMismatch(ours: Int, theirs: Int)

  package var description: String {
    switch self {
    case .tooLarge(let count): "control frame of \(count) octets"
    case .malformed(let text): "control frame: \(text)"
    case .closed: "control socket closed"
    case .versionMismatch(let ours, let theirs): "control protocol version \(theirs), expected \(ours)"
    }
  }
}
