internal import NIOCore
internal import NIOPosix

/// A TCP server that greets (with 220 unless told otherwise) and answers each line as a closure says: for peers that no sink would play.
package final class LineServer: Sendable {
  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let greeting: String
    private let answer: @Sendable (String) -> String
    private var buffer = ByteBuffer()

    init(_ greeting: String, _ answer: @escaping @Sendable (String) -> String) {
      self.greeting = greeting
      self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) { write(greeting, context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var incoming = unwrapInboundIn(data)
      buffer.writeBuffer(&incoming)
      while let end = buffer.readableBytesView.firstIndex(of: 0x0A) {
        let line = buffer.readString(length: end - buffer.readableBytesView.startIndex + 1) ?? ""
        write(answer(line.trimmingSuffix { $0.isNewline }), context)
      }
    }

    private func write(_ text: String, _ context: ChannelHandlerContext) {
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }
  }

  private let channel: any Channel
  package let port: Int

  package static func start(
    host: String = "127.0.0.1", greeting: String = "220 ready\r\n", answer: @escaping @Sendable (String) -> String
  ) async throws -> LineServer {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(greeting, answer)) }
      }
      .bind(host: host, port: 0).get()
    return LineServer(channel: channel, port: channel.localAddress?.port ?? 0)
  }

  private init(channel: any Channel, port: Int) {
    self.channel = channel
    self.port = port
  }

  package func stop() async { try? await channel.close() }
}

extension String {
  fileprivate func trimmingSuffix(while shouldTrim: (Character) -> Bool) -> String {
    var text = Substring(self)
    while let last = text.last, shouldTrim(last) { text.removeLast() }
    return String(text)
  }
}
