internal import CHiredis

/// Octets from Redis in, whole replies out (RESP2), parsed by hiredis. Once a reply was malformed nothing more is read.
struct RESPReader: ~Copyable {
  private let reader: UnsafeMutablePointer<redisReader>?

  init() { reader = redisReaderCreate() }
  deinit { redisReaderFree(reader) }

  /// False when there is nothing to read with any more.
  func feed(_ bytes: UnsafeRawBufferPointer) -> Bool {
    redisReaderFeed(reader, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count) == REDIS_OK
  }

  /// The next whole reply, nil when octets are missing.
  func next() throws(RedisError) -> RESPValue? {
    var reply: UnsafeMutableRawPointer?
    guard redisReaderGetReply(reader, &reply) == REDIS_OK else { throw .unexpected("no RESP") }
    guard let reply else { return nil }
    defer { freeReplyObject(reply) }
    return Self.value(reply.assumingMemoryBound(to: redisReply.self))
  }

  private static func value(_ reply: UnsafeMutablePointer<redisReply>) -> RESPValue {
    let reply = reply.pointee
    func bytes() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: reply.str, count: Int(reply.len)) }
    switch reply.type {
    case REDIS_REPLY_STRING: return .bulk([UInt8](bytes()))
    case REDIS_REPLY_STATUS: return .status(String(decoding: bytes(), as: UTF8.self))
    case REDIS_REPLY_ERROR: return .error(String(decoding: bytes(), as: UTF8.self))
    case REDIS_REPLY_INTEGER: return .integer(reply.integer)
    case REDIS_REPLY_ARRAY:
      var values: [RESPValue] = []
      values.reserveCapacity(Int(reply.elements))
      for index in 0..<Int(reply.elements) {
        if let element = reply.element[index] { values.append(value(element)) }
      }
      return .array(values)
    default: return .null
    }
  }
}
