import MTAConfig
import MailModel
import NIOCore
import NIOPosix

/// One question to an inspector and its answer, over a connection of its own. Not by an HTTP client: such a client holds back
/// after failed connects, and an inspector that is back is to be asked at once.
enum InspectorWire {
  static let longestAnswer = 1 << 20

  /// - Parameters:
  ///   - limit: ms for all of it, connecting included.
  ///   - isComplete: whether the answer is whole before the other side closes.
  static func exchange(
    _ address: MTAConfig.Inspector.Address, _ question: [ByteBuffer], within limit: Milliseconds, group: any EventLoopGroup,
    isComplete: @escaping @Sendable (ByteBuffer) -> Bool
  ) async throws -> ByteBuffer {
    let loop = group.next()
    let promise = loop.makePromise(of: ByteBuffer.self)
    let timer = loop.scheduleTask(in: .milliseconds(max(1, limit))) { promise.fail(InspectionError.timeOut) }
    let bootstrap = ClientBootstrap(group: loop)
      .connectTimeout(.milliseconds(max(1, limit)))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AnswerHandler(promise: promise, isComplete: isComplete))
        }
      }
    let connecting =
      switch address {
      case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
      case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
      }
    connecting.whenFailure { promise.fail($0) }
    connecting.whenSuccess { channel in
      promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
      for part in question { channel.write(part, promise: nil) }
      channel.flush()
    }
    defer { timer.cancel() }
    return try await promise.futureResult.get()
  }

  /// Collects the answer.
  private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let promise: EventLoopPromise<ByteBuffer>
    private let isComplete: @Sendable (ByteBuffer) -> Bool
    private var answer = ByteBuffer()

    init(promise: EventLoopPromise<ByteBuffer>, isComplete: @escaping @Sendable (ByteBuffer) -> Bool) {
      self.promise = promise
      self.isComplete = isComplete
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var piece = unwrapInboundIn(data)
      answer.writeBuffer(&piece)
      if answer.readableBytes > InspectorWire.longestAnswer { return promise.fail(InspectionError.answerTooLong) }
      if isComplete(answer) { promise.succeed(answer) }
    }

    /// Who refuses a message half-way says why and closes: what was said counts, whatever became of our octets.
    func channelInactive(context: ChannelHandlerContext) {
      if answer.readableBytes > 0 { promise.succeed(answer) } else { promise.fail(InspectionError.closed) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
