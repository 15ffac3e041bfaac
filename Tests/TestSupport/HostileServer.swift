internal import NIOCore
internal import NIOPosix

/// A TCP server that greets without end: fast, or an octet at a time.
package final class HostileServer: Sendable {
  package enum Kind: Sendable {
    /// Lines of one reply, up to so many octets.
    case flood(Int)
    /// One octet each so many milliseconds.
    case trickle(Int64)
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let kind: Kind
    private let written: Locked<Int>
    private var task: RepeatedTask?

    init(_ kind: Kind, _ written: Locked<Int>) {
      self.kind = kind
      self.written = written
    }

    func channelActive(context: ChannelHandlerContext) {
      switch kind {
      case .flood(let octets): flood(octets, NIOLoopBound((self, context), eventLoop: context.eventLoop))
      case .trickle(let pause):
        let channel = context.channel
        task = context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(pause)) { _ in
          channel.writeAndFlush(ByteBuffer(string: "2"), promise: nil)
        }
      }
    }

    private func flood(_ left: Int, _ bound: NIOLoopBound<(Handler, ChannelHandlerContext)>) {
      guard left > 0 else { return }
      let piece = ByteBuffer(string: String(repeating: "220-" + String(repeating: "x", count: 250) + "\r\n", count: 256))
      let count = piece.readableBytes
      bound.value.1.writeAndFlush(wrapOutboundOut(piece)).whenSuccess {
        let (handler, _) = bound.value
        handler.written.change { $0 += count }
        handler.flood(left - count, bound)
      }
    }

    func channelInactive(context: ChannelHandlerContext) { task?.cancel() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  private let channel: any Channel
  private let written: Locked<Int>
  package let port: Int

  /// Octets that a client was willing to take.
  package var octetsTaken: Int { written.value }

  package static func start(_ kind: Kind) async throws -> HostileServer {
    let written = Locked(0)
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(kind, written)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return HostileServer(channel: channel, written: written, port: channel.localAddress?.port ?? 0)
  }

  private init(channel: any Channel, written: Locked<Int>, port: Int) {
    self.channel = channel
    self.written = written
    self.port = port
  }

  package func stop() async { try? await channel.close() }
}
