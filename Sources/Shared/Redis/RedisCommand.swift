package import NIOCore
internal import RedisFunctions

/// One command in the making: arguments are written straight into the buffer that goes to the socket. (Formatting with
/// hiredis and straight into a ByteBuffer are level in speed; this one saves copying a message's octets once.)
package struct RedisCommand: Sendable {
  package private(set) var arguments: ByteBuffer
  package private(set) var count = 0

  package init(_ words: String..., capacity: Int = 128) {
    arguments = ByteBuffer()
    arguments.reserveCapacity(capacity)
    for word in words { add(word) }
  }

  package mutating func add(_ text: String) {
    count += 1
    arguments.writeString("$\(text.utf8.count)\r\n")
    arguments.writeString(text)
    arguments.writeStaticString("\r\n")
  }

  package mutating func add(_ bytes: [UInt8]) {
    count += 1
    arguments.writeString("$\(bytes.count)\r\n")
    arguments.writeBytes(bytes)
    arguments.writeStaticString("\r\n")
  }

  package mutating func add(_ number: Int64) { add(String(number)) }
  package mutating func add(_ number: Int) { add(String(number)) }

  /// A Function of our library on the keys of one prefix.
  /// - Parameter name: as `mta.lua` spells it.
  package static func function(_ name: String, prefix: String, capacity: Int = 512) -> RedisCommand {
    var command = RedisCommand("FCALL", RedisLibrary.own.function(name), "1", capacity: capacity)
    command.add(prefix)
    return command
  }
}
