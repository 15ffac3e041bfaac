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

  private let reader = RESPReader()
  private var waiting = CircularBuffer<(promise: EventLoopPromise<RESPValue>, deadline: NIODeadline)>()
  private var watch: RepeatedTask?
  private var isClosed = false

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
    guard buffer.withUnsafeReadableBytes({ reader.feed($0) }) else { return context.close(promise: nil) }
    do {
      while let value = try reader.next() {
        guard let first = waiting.popFirst() else { return context.close(promise: nil) }
        first.promise.succeed(value)
      }
    } catch {
      context.close(promise: nil)
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
}
