import NIOCore
import NIOHTTP1

/// Puts itself around a connection's HTTP decoder: counts the connection, and closes it when its client is too slow
/// (``ConnectionClock``). Slow clients cost a descriptor and some memory, never a thread; the table bounds how many there are.
final class ConnectionGuard: RemovableChannelHandler, ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let table: ConnectionTable
  private let limits: ConnectionClock.Limits

  init(table: ConnectionTable, limits: ConnectionClock.Limits) {
    self.table = table
    self.limits = limits
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let pipeline = context.pipeline.syncOperations
    let watch = ConnectionWatch(limits)
    do {
      let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
      try pipeline.addHandler(watch, position: .after(decoder))
      try pipeline.addHandler(ConnectionDoor(table: table, watch: watch), position: .first)
    } catch {
      context.close(promise: nil)
    }
  }
}

/// Before all other handlers: who may come in, and when octets come.
private final class ConnectionDoor: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private static let full = ByteBuffer(
    string: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

  private let table: ConnectionTable
  private let watch: ConnectionWatch
  private var peer: String?

  init(table: ConnectionTable, watch: ConnectionWatch) {
    self.table = table
    self.watch = watch
  }

  func channelActive(context: ChannelHandlerContext) {
    let address = context.channel.remoteAddress?.ipAddress ?? "local"
    guard table.admit(address) else {
      let context = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.value.writeAndFlush(wrapOutboundOut(Self.full)).whenComplete { _ in context.value.close(promise: nil) }
      return
    }
    peer = address
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard peer != nil else { return }
    watch.clock.octetsCame(.now())
    context.fireChannelRead(data)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if let peer { table.leave(peer) }
    peer = nil
    context.fireChannelInactive()
  }
}

/// After the decoder: parts of requests and answers, and the time that they take.
private final class ConnectionWatch: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  var clock: ConnectionClock
  private var timer: RepeatedTask?

  init(_ limits: ConnectionClock.Limits) { clock = ConnectionClock(limits, now: .now()) }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { task in
      let (watch, context) = bound.value
      guard context.channel.isActive else { return }
      guard watch.clock.isOver(.now()) else { return }
      task.cancel()
      context.close(promise: nil)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    timer?.cancel()
    timer = nil
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    timer = nil
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: clock.headCame()
    case .body(let piece): clock.bodyCame(piece.readableBytes, .now())
    case .end: clock.requestEnded(.now())
    }
    context.fireChannelRead(data)
  }

  func read(context: ChannelHandlerContext) {
    clock.reads(.now())
    context.read()
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let isEnd = if case .end = unwrapOutboundIn(data) { true } else { false }
    clock.writes(.now())
    let taken = promise ?? context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    taken.futureResult.whenComplete { _ in
      bound.value.clock.written(.now())
      if isEnd { bound.value.clock.answerEnded(.now()) }
    }
    context.write(data, promise: taken)
  }
}
