package import NIOCore
internal import NIOPosix

/// One end of a control socket: sends `Out`, hands each received `In` to a closure on the event loop, tells its end once.
package struct ControlChannel<In: Decodable & Sendable, Out: Encodable & Sendable>: Sendable {
  private let channel: any Channel

  /// Wraps a connected Unix socket; takes the descriptor over.
  package static func attach(
    descriptor: CInt, on eventLoop: any EventLoop, receive: @escaping @Sendable (In) -> Void,
    closed: @escaping @Sendable () -> Void
  ) async throws -> ControlChannel {
    let channel = try await ClientBootstrap(group: eventLoop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(ControlHandler<In>(receive: receive, closed: closed))
        }
      }
      .withConnectedSocket(descriptor).get()
    return ControlChannel(channel: channel)
  }

  package func send(_ message: Out) {
    var buffer = ByteBuffer()
    guard (try? ControlFrame.encode(message, into: &buffer)) != nil else { return }
    channel.writeAndFlush(buffer, promise: nil)
  }

  package func close() { channel.close(promise: nil) }
}

final class ControlHandler<In: Decodable & Sendable>: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private var buffer = ByteBuffer()
  private let receive: @Sendable (In) -> Void
  private let closed: @Sendable () -> Void

  init(receive: @escaping @Sendable (In) -> Void, closed: @escaping @Sendable () -> Void) {
    self.receive = receive
    self.closed = closed
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var incoming = unwrapInboundIn(data)
    buffer.writeBuffer(&incoming)
    do {
      while let message = try ControlFrame.decode(In.self, from: &buffer) { receive(message) }
      buffer.discardReadBytes()
    } catch {
      context.close(promise: nil)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  func channelInactive(context: ChannelHandlerContext) { closed() }
}
