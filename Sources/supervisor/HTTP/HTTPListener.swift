import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import MTAConfig
import NIOCore
import NIOPosix
import Observability
import SMTPServer
import ServiceLifecycle

/// Serves the API on sockets that systemd passed, and on those it binds itself. Its end is in order: no connection is taken
/// any more (who connects then waits in a passed socket's backlog for the next process), what was accepted is answered.
struct HTTPListener: Service {
  /// Connections that are still open then are cut.
  static let patience: Duration = .seconds(8)

  var share: ListenSockets.Share
  let group: any EventLoopGroup
  let log: Logger
  let gate: AcceptGate
  let channel: HTTP1Channel.Configuration
  let respond: @Sendable (Request, APIContext) async -> Response
  /// Returns when requests can be served, or shall be refused for good reason.
  let prepared: @Sendable () async -> Void
  let serving: @Sendable ([String]) async -> Void

  /// - Parameters:
  ///   - gate: holds those who come beyond it in the kernel's queue.
  ///   - settings: of the HTTP channels; its additional handlers come before ours.
  init(
    share: ListenSockets.Share, group: any EventLoopGroup, log: Logger, gate: AcceptGate = AcceptGate(most: .max),
    settings: HTTP1Channel.Configuration = .init(),
    respond: @escaping @Sendable (Request, APIContext) async -> Response, prepared: @escaping @Sendable () async -> Void,
    serving: @escaping @Sendable ([String]) async -> Void
  ) {
    self.share = share
    self.group = group
    self.log = log
    self.gate = gate
    self.respond = respond
    self.prepared = prepared
    self.serving = serving
    var channel = settings
    let others = settings.additionalChannelHandlers
    channel.additionalChannelHandlers = { others() + [HTTPDrainHandler()] }
    self.channel = channel
  }

  func run() async throws {
    await cancelWhenGracefulShutdown { await prepared() }
    let connections = HTTPConnections()
    var listeners: [any Channel] = []
    do {
      for passed in share.passed { listeners.append(try await bootstrap(connections).withBoundSocket(passed.descriptor).get()) }
      for entry in share.unbound { listeners.append(try await bind(entry, connections)) }
    } catch {
      for listener in listeners { try? await listener.close() }
      throw error
    }
    await serving(share.passed.map { "\($0.address) (passed)" } + share.unbound)
    try? await gracefulShutdown()
    await stopAccepting(listeners)
    await connections.drain(within: Self.patience)
  }

  private func bind(_ entry: String, _ connections: HTTPConnections) async throws -> any Channel {
    guard let (host, port) = MTAConfig.listenAddress(entry) else { throw SetupError("api.listen \(entry) is no address:port") }
    do {
      return try await bootstrap(connections).serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .bind(host: host, port: port).get()
    } catch {
      let why = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
      throw SetupError("api.listen \(entry) cannot be bound: \(why)")
    }
  }

  private func bootstrap(_ connections: HTTPConnections) -> ServerBootstrap {
    var quiet = Logger(label: "http")
    quiet.logLevel = .critical
    let http = HTTP1Channel(
      responder: { [respond, quiet] request, writer, channel in
        var response = await respond(request, APIContext(source: .init(channel: channel, logger: quiet)))
        response.headers[.date] = HTTPDate.now()
        try await writer.write(response: response.head, body: response.body)
      }, configuration: channel)
    return ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelInitializer { [gate] in gate.guardDoor(of: $0) }
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { [quiet] channel in
        http.setup(channel: channel, logger: quiet).map { value in
          connections.add(channel)
          Task { await http.handle(value: value, logger: quiet) }
        }
      }
  }

  /// A connection that was taken a moment ago is still being set up, between two event loops, and would be cut with its
  /// listener: so first no more are taken, then every loop has a turn, then the listeners close.
  private func stopAccepting(_ listeners: [any Channel]) async {
    for listener in listeners { try? await listener.setOption(.autoRead, value: false).get() }
    for _ in 0..<2 {
      for loop in group.makeIterator() { try? await loop.submit {}.get() }
      for listener in listeners { try? await listener.eventLoop.submit {}.get() }
    }
    for listener in listeners { try? await listener.close() }
  }
}
