import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Ends a connection without cutting a request: after ``Begin`` the answer under way (or the next one, to a request that comes
/// within moments) says `Connection: close`, so that its client takes a fresh connection for what follows.
final class HTTPDrainHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  struct Begin: Sendable {}

  /// A client that sends all the time has sent its next request by then.
  static let patience: TimeAmount = .milliseconds(250)

  private var isDraining = false
  /// Requests whose answer has not ended.
  private var open = 0
  private var isLast = false

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .head = unwrapInboundIn(data) { open += 1 }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(var head) where head.status.kind != .informational:
      if isDraining, open <= 1 {
        isLast = true
        head.headerFields[.connection] = "close"
      }
      context.write(wrapOutboundOut(.head(head)), promise: promise)
    case .end(let trailers):
      open -= 1
      guard isLast else { return context.write(wrapOutboundOut(.end(trailers)), promise: promise) }
      let written = promise ?? context.eventLoop.makePromise(of: Void.self)
      context.writeAndFlush(wrapOutboundOut(.end(trailers)), promise: written)
      written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    default: context.write(data, promise: promise)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard event is Begin else { return context.fireUserInboundEventTriggered(event) }
    isDraining = true
    context.eventLoop.assumeIsolated().scheduleTask(in: Self.patience) {
      if self.open == 0 { context.close(promise: nil) }
    }
  }
}
