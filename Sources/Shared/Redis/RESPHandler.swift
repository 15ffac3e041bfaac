internal import CHiredis
internal import NIOCore

/// Pipelined commands out, replies in, parsed by hiredis. Promises are kept in order; a reply that does not come within
/// the limit of its command closes the connection, and closing fails every waiting promise as ``RedisError/lost``.
final class RESPHandler: ChannelDuplexHandler {
  struct Request {
    let command: RedisCommand
    let promise: EventLoopPromise<RESPValue>
    let timeLimit: TimeAmount
  }

  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Request
  typealias OutboundOut = ByteBuffer

  private let reader: UnsafeMutablePointer<redisReader>?
  private var waiting = CircularBuffer<(promise: EventLoopPromise<RESPValue>, deadline: NIODeadline)>()
  private var watch: RepeatedTask?
  private var isClosed = false

  init() { reader = redisReaderCreate() }
  deinit { redisReaderFree(reader) }

  func channelActive(context: ChannelHandlerContext) {
    startWatch(context)
    context.fireChannelActive()
  }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { startWatch(context) }
  }

  private func startWatch(_ context: ChannelHandlerContext) {
    guard watch == nil else { return }
    let bound = NIOLoopBound((self, context.channel), eventLoop: context.eventLoop)
    watch = context.eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(250), delay: .milliseconds(250)) { _ in
      let (handler, channel) = bound.value
      if let first = handler.waiting.first, first.deadline < .now() { channel.close(promise: nil) }
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let request = unwrapOutboundIn(data)
    guard !isClosed else {
      request.promise.fail(RedisError.notConnected)
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    waiting.append((request.promise, .now() + request.timeLimit))
    context.write(wrapOutboundOut(ByteBuffer(string: "*\(request.command.count)\r\n")), promise: nil)
    context.write(wrapOutboundOut(request.command.arguments), promise: promise)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    let fed = buffer.withUnsafeReadableBytes { bytes in
      redisReaderFeed(reader, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count)
    }
    guard fed == REDIS_OK else { return context.close(promise: nil) }
    while true {
      var reply: UnsafeMutableRawPointer?
      guard redisReaderGetReply(reader, &reply) == REDIS_OK else { return context.close(promise: nil) }
      guard let reply else { return }
      let value = Self.value(reply.assumingMemoryBound(to: redisReply.self))
      freeReplyObject(reply)
      guard let first = waiting.popFirst() else { return context.close(promise: nil) }
      first.promise.succeed(value)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelInactive(context: ChannelHandlerContext) {
    isClosed = true
    watch?.cancel()
    watch = nil
    while let first = waiting.popFirst() { first.promise.fail(RedisError.lost) }
    context.fireChannelInactive()
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
