internal import Foundation
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// A Unix socket before a real redis-server. It can lose an answer: once armed with a word, it passes on the first request
/// that contains it, waits until Redis has begun to answer, and cuts that connection instead of handing the answer on. It can
/// cut connections of all or of chosen processes, whatever is on its way, and let no new one come about while it is away.
package final class LinkCutter: Sendable {
  package let path: String
  private let channel: any Channel
  private let armed: Locked<String?>
  private let links: Locked<Links>

  private struct Links {
    var isAway = false
    var redis: String
    var open: [Pair] = []
  }

  private struct Pair: Sendable {
    let pid: Int32
    let client: any Channel
    let server: any Channel
  }

  /// As `struct ucred`.
  private struct Credentials: Sendable {
    var pid: Int32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0
  }

  package static func start(path: String, redis: String) async throws -> LinkCutter {
    let armed = Locked<String?>(nil)
    let links = Locked(Links(redis: redis))
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { client in
        let isCut = Locked(false)
        if links.value.isAway { return client.close() }
        // Nothing is read before the way to Redis is open.
        return client.setOption(.autoRead, value: false).flatMap {
          ClientBootstrap(group: client.eventLoop)
            .channelInitializer { server in
              server.eventLoop.makeCompletedFuture {
                try server.pipeline.syncOperations.addHandler(Half(to: client, armed: nil, isCut: isCut))
              }
            }
            .connect(unixDomainSocketPath: links.value.redis)
        }.flatMap { server in
          if let options = client as? any SocketOptionProvider {
            let peer: EventLoopFuture<Credentials> = options.unsafeGetSocketOption(level: .socket, name: .init(rawValue: SO_PEERCRED))
            peer.whenSuccess { peer in links.change { $0.open.append(Pair(pid: peer.pid, client: client, server: server)) } }
          }
          return client.eventLoop.makeCompletedFuture {
            try client.pipeline.syncOperations.addHandler(Half(to: server, armed: armed, isCut: isCut))
          }.flatMap { client.setOption(.autoRead, value: true) }
        }
      }
      .bind(unixDomainSocketPath: path).get()
    return LinkCutter(path: path, channel: channel, armed: armed, links: links)
  }

  private init(path: String, channel: any Channel, armed: Locked<String?>, links: Locked<Links>) {
    self.path = path
    self.channel = channel
    self.armed = armed
    self.links = links
  }

  package var url: String { "unix://" + path }
  package var isArmed: Bool { armed.value != nil }

  /// The next answer to a request with this word is lost, and its connection with it.
  package func loseAnswer(to word: String) { armed.change { $0 = word } }

  /// How many connections these processes have.
  package func count(_ isMeant: (Int32) -> Bool) -> Int { links.value.open.count { isMeant($0.pid) && $0.client.isActive } }

  /// New connections lead to another server; those that are open stay where they are.
  package func move(to redis: String) { links.change { $0.redis = redis } }

  /// Cuts every connection of these processes, on both sides, now. Each is asked for once, in the order in which they came about.
  /// - Parameter away: and no new one comes about until ``restore()``.
  /// - Returns: how many there were.
  @discardableResult
  package func cut(away: Bool = false, _ isMeant: (Int32) -> Bool = { _ in true }) -> Int {
    var meant: [Pair] = []
    links.change { links in
      links.isAway = away
      let active = links.open.filter(\.client.isActive)
      links.open = []
      for pair in active { if isMeant(pair.pid) { meant.append(pair) } else { links.open.append(pair) } }
    }
    for pair in meant {
      pair.client.close(promise: nil)
      pair.server.close(promise: nil)
    }
    return meant.count
  }

  package func restore() { links.change { $0.isAway = false } }

  package func stop() async { try? await channel.close() }

  /// One direction of one connection; the requests' half looks for the word.
  private final class Half: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let peer: any Channel
    private let armed: Locked<String?>?
    private let isCut: Locked<Bool>

    init(to peer: any Channel, armed: Locked<String?>?, isCut: Locked<Bool>) {
      self.peer = peer
      self.armed = armed
      self.isCut = isCut
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let buffer = unwrapInboundIn(data)
      if let armed, let word = armed.value, String(buffer: buffer).contains(word) {
        armed.change { $0 = nil }
        isCut.change { $0 = true }
      } else if armed == nil, isCut.value {
        return context.close(promise: nil)
      }
      _ = peer.writeAndFlush(buffer)
    }

    func channelInactive(context: ChannelHandlerContext) { peer.close(promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
