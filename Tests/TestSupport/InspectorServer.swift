internal import Foundation
internal import NIOCore
internal import NIOPosix

/// A TCP server that collects one question a connection and answers it as a closure says: an inspector of the test's own.
package final class InspectorServer: Sendable {
  /// What to do with what has come so far.
  package enum Act: Sendable {
    case wait
    /// Answer and close.
    case answer(String)
    /// Never say a word.
    case hang
    case close
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let act: @Sendable ([UInt8]) -> Act
    private var question: [UInt8] = []
    private var isOver = false

    init(_ act: @escaping @Sendable ([UInt8]) -> Act) { self.act = act }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      question += unwrapInboundIn(data).readableBytesView
      guard !isOver else { return }
      switch act(question) {
      case .wait: return
      case .hang: isOver = true
      case .close:
        isOver = true
        context.close(promise: nil)
      case .answer(let text):
        isOver = true
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        context.close(promise: nil)
      }
    }
  }

  private let channel: any Channel
  package let port: Int

  package static func start(_ act: @escaping @Sendable ([UInt8]) -> Act) async throws -> InspectorServer {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(act)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return InspectorServer(channel: channel, port: channel.localAddress?.port ?? 0)
  }

  private init(channel: any Channel, port: Int) {
    self.channel = channel
    self.port = port
  }

  package func stop() async { try? await channel.close() }
}

extension InspectorServer {
  /// The message of one question, when it is whole; nil while more must come.
  package static func content(_ question: [UInt8]) -> String? {
    let text = String(decoding: question, as: UTF8.self)
    guard let blank = text.range(of: "\r\n\r\n"), let length = text[..<blank.lowerBound].lowercased().range(of: "content-length: ")
    else { return nil }
    let digits = text[length.upperBound...].prefix { $0.isNumber }
    let body = text[blank.upperBound...]
    guard let size = Int(digits), body.utf8.count >= size else { return nil }
    return String(body)
  }

  /// As rspamd's normal worker: the action and score that the closure says of a message.
  package static func rspamd(_ judge: @escaping @Sendable (String) -> (action: String, score: Double)) async throws -> InspectorServer {
    try await start { question in
      guard let content = content(question) else { return .wait }
      let (action, score) = judge(content)
      let body = "{\"is_skipped\":false,\"score\":\(score),\"required_score\":15.0,\"action\":\"\(action)\",\"symbols\":{}}"
      return .answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }
  }

  /// As spamd.
  package static func spamd(_ judge: @escaping @Sendable (String) -> Double) async throws -> InspectorServer {
    try await start { question in
      guard let content = content(question) else { return .wait }
      let score = judge(content)
      return .answer(
        "SPAMD/1.1 0 EX_OK\r\nContent-length: 4\r\nSpam: \(score >= 5 ? "True" : "False") ; \(score) / 5.0\r\n\r\nTEST")
    }
  }

  /// As clamd, for INSTREAM; the message is put together from its chunks.
  package static func clamd(_ judge: @escaping @Sendable (String) -> String) async throws -> InspectorServer {
    try await start { question in
      guard question.starts(with: Array("zINSTREAM\0".utf8)) else { return .close }
      var rest = question.dropFirst(10)
      var content: [UInt8] = []
      while rest.count >= 4 {
        let size = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        if size == 0 { return .answer(judge(String(decoding: content, as: UTF8.self)) + "\0") }
        guard rest.count >= 4 + size else { return .wait }
        content += rest.dropFirst(4).prefix(size)
        rest = rest.dropFirst(4 + size)
      }
      return .wait
    }
  }
}
