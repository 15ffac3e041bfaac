/// One reply of Redis (RESP2).
package enum RESPValue: Sendable, Equatable {
  case null
  case integer(Int64)
  case status(String)
  case error(String)
  case bulk([UInt8])
  case array([RESPValue])

  package var string: String? {
    switch self {
    case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
    case .status(let text): text
    case .integer(let value): String(value)
    case .null, .error, .array: nil
    }
  }

  package var bytes: [UInt8]? {
    if case .bulk(let bytes) = self { return bytes }
    return nil
  }

  package var int64: Int64? {
    switch self {
    case .integer(let value): value
    case .bulk, .status: string.flatMap { Int64($0) ?? Double($0).flatMap { Int64(exactly: $0.rounded()) } }
    case .null, .error, .array: nil
    }
  }

  package var int: Int? { int64.map { Int($0) } }

  package var array: [RESPValue]? {
    if case .array(let values) = self { return values }
    return nil
  }
}

/// What can go wrong between us and Redis.
package enum RedisError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The command was never written: certainly not executed.
  case notConnected
  /// The connection broke or stalled after the command was written: executed or not, nobody knows.
  case lost
  /// Redis answered with an error.
  case refused(String)
  /// Redis answered something of another shape.
  case unexpected(String)

  package var isOutOfMemory: Bool {
    if case .refused(let text) = self { return text.hasPrefix("OOM") }
    return false
  }

  /// FCALL of a Function that Redis does not have, or no longer.
  var isWithoutFunctions: Bool {
    if case .refused(let text) = self { return text.hasPrefix("ERR Function not found") }
    return false
  }

  /// AUTH, where nobody needs a password.
  var isPasswordless: Bool {
    if case .refused(let text) = self { return text.contains("without any password configured") }
    return false
  }

  package var description: String {
    switch self {
    case .notConnected: "Redis is not connected"
    case .lost: "the connection to Redis was lost before its answer"
    case .refused(let text): "Redis refused: \(text)"
    case .unexpected(let text): "Redis answered unexpectedly: \(text)"
    }
  }
}
