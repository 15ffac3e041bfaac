internal import MailModel
package import NIOCore
internal import NIOPosix
package import TLS

/// A scriptable SMTP server that takes mail and keeps none: the sandbox's every MX, and the far end of tests and benchmarks.
package final class SMTPSink: Sendable {
  package struct Options: Sendable {
    package var hostName = "sink.example"
    package var extensions = ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    /// Offers STARTTLS when set.
    package var tls: TLSContext?
    /// Called when a session's connection is closed, with the client's address.
    package var closed: (@Sendable (String) -> Void)?

    package init() {}
  }

  private let channel: any Channel
  package let port: Int

  /// Listens; port 0 takes a free one.
  package static func start(
    host: String, port: Int, group: any EventLoopGroup, options: Options = Options(), script: @escaping SinkScript = { _ in nil },
    take: @escaping @Sendable (SinkMessage) -> Void
  ) async throws -> SMTPSink {
    let channel = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(SinkSession(options: options, script: script, take: take))
        }
      }
      .bind(host: host, port: port).get()
    return SMTPSink(channel: channel, port: channel.localAddress?.port ?? port)
  }

  private init(channel: any Channel, port: Int) {
    self.channel = channel
    self.port = port
  }

  package func stop() async { try? await channel.close() }
}
