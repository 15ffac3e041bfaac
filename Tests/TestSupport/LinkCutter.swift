internal import Foundation
internal import NIOCore
internal import NIOPosix

/// A Unix socket before a real redis-server. It can lose an answer: once armed with a word, it passes on the first request
/// that contains it, waits until Redis has begun to answer, and cuts that connection instead of handing the answer on. And it
/// can be cut: every connection at once, whatever is on its way, and no new one while it is away.
package final class LinkCutter: Sendable {
  package let path: String
  private let channel: any Channel
  private let armed: Locked<String?>
  private let links: Locked<Links>

  private struct Links {
    var isAway = false
    var open: [any Channel] = []
  }

  package static func start(path: String, redis: String) async throws -> LinkCutter {
    let armed = Locked<String?>(nil)
    let links = Locked(Links())
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { client in
        let isCut = Locked(false)
        var isAway = false
        links.change { links in
          isAway = links.isAway
          links.open.removeAll { !$0.isActive }
          if !isAway { links.open.append(client) }
        }
        if isAway { return client.close() }
        // Nothing is read before the way to Redis is open.
        return client.setOption(.autoRead, value: false).flatMap {
          ClientBootstrap(group: client.eventLoop)
            .channelInitializer { server in
              server.eventLoop.makeCompletedFuture {
                try server.pipeline.syncOperations.addHandler(Half(to: client, armed: nil, isCut: isCut))
              }
            }
            .connect(unixDomainSocketPath: redis)
        }.flatMap { server in
          client.eventLoop.makeCompletedFuture {
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

  /// Every connection ends now.
  /// - Parameter away: and no new one comes about until ``restore()``.
  package func cut(away: Bool = false) {
    var open: [any Channel] = []
    links.change {
      $0.isAway = away
      swap(&open, &$0.open)
    }
    for channel in open { channel.close(promise: nil) }
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
