internal import Glibc
package import MailModel
package import NIOCore
internal import NIOConcurrencyHelpers
internal import NIOPosix
package import SMTPProtocol
package import TLS

/// Takes mail in over SMTP (RFC 5321) on one or more sockets and hands it to a ``MailReceiver``. Every session is bounded in
/// commands, time and octets, and all together in number and in what they hold.
///
/// **Line ends**: commands and content end their lines in CRLF; a CR or LF that stands alone in a command is answered 500 and
/// the connection closed, in content it is answered 550 at the true end (``MailContentReader``).
package final class SMTPListener: Sendable {
  /// A socket to listen on.
  package struct Place: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
      /// Port 0 takes a free one.
      case address(host: String, port: Int)
      /// A socket that listens already, by socket activation; this listener owns it from now on.
      case descriptor(Int32)
    }

    package var kind: Kind
    /// TLS from the first octet (RFC 8314 §3.3); else STARTTLS where there is a context.
    package var isImplicitTLS: Bool

    package init(_ kind: Kind, isImplicitTLS: Bool = false) {
      self.kind = kind
      self.isImplicitTLS = isImplicitTLS
    }
  }

  package struct Limits: Sendable {
    /// Sessions. Who comes beyond is told so, a few at a time (``AcceptGate``); the others wait in the kernel's queue.
    package var connections = 1000
    /// By IPv4 address or IPv6 /64.
    package var connectionsPerPeer = 10
    /// Octets of a command line, CRLF included.
    package var line = 4096
    /// From our last reply to the end of the next command, however it trickles; for the TLS handshake too.
    package var command: TimeAmount = .seconds(60)
    /// Between two pieces of content.
    package var dataIdle: TimeAmount = .seconds(60)
    /// For the content of one message.
    package var data: TimeAmount = .minutes(10)
    package var session: TimeAmount = .minutes(60)
    /// How long the banner waits; who talks before it is refused. Loopback and private addresses do not wait.
    package var bannerDelay: TimeAmount = .seconds(2)
    package var delaysPrivatePeers = false
    /// Octets that all sessions together may hold, in memory and in files.
    package var held = 1 << 30
    /// Octets of messages that the receiver has in its hands at once; the next one waits.
    package var inHand = 96 << 20

    package init() {}
  }

  package struct Options: Sendable {
    package var policy: SMTPServerPolicy
    package var limits = Limits()
    /// Offers STARTTLS, and serves implicit TLS, when set.
    package var tls: TLSContext?
    /// Where content beyond 64 KiB is kept while it comes in.
    package var spoolDirectory = "/tmp"
    package var clock: @Sendable () -> Milliseconds

    package init(policy: SMTPServerPolicy, clock: @escaping @Sendable () -> Milliseconds) {
      self.policy = policy
      self.clock = clock
    }
  }

  package enum StartError: Error, CustomStringConvertible {
    case cannotListen(Place, String)

    package var description: String {
      switch self {
      case .cannotListen(let place, let why):
        switch place.kind {
        case .address(let host, let port): "cannot listen on \(host):\(port): \(why)"
        case .descriptor(let descriptor): "cannot listen on the inherited socket \(descriptor): \(why)"
        }
      }
    }
  }

  private let state: ListenerState
  private let channels: [any Channel]
  /// In the order of the places.
  package let ports: [Int]

  /// Listens. Sessions run on `group`, which should be one of their own: hostile clients then share no event loop with
  /// anything else.
  package static func start(
    on places: [Place], group: any EventLoopGroup, options: Options, receiver: any MailReceiver
  ) async throws(StartError) -> SMTPListener {
    let state = ListenerState(options: options, receiver: receiver)
    var channels: [any Channel] = []
    for place in places {
      let bootstrap = ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 1024)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .serverChannelInitializer { [gate = state.gate] in gate.guardDoor(of: $0) }
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelOption(.maxMessagesPerRead, value: 4)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(InboundConnection(state, isImplicitTLS: place.isImplicitTLS))
          }
        }
      do {
        switch place.kind {
        case .address(let host, let port): channels.append(try await bootstrap.bind(host: host, port: port).get())
        case .descriptor(let descriptor): channels.append(try await bootstrap.withBoundSocket(descriptor).get())
        }
      } catch {
        for channel in channels { channel.close(promise: nil) }
        throw .cannotListen(place, (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)")
      }
    }
    return SMTPListener(state: state, channels: channels)
  }

  private init(state: ListenerState, channels: [any Channel]) {
    self.state = state
    self.channels = channels
    ports = channels.map { $0.localAddress?.port ?? 0 }
  }

  /// What happened since the start.
  package var figures: InboundFigures { state.figures.withLockedValue { $0 } }

  /// For sessions from now on.
  package func setTLS(_ context: TLSContext) { state.tls.withLockedValue { $0 = context } }

  /// Stops listening; sessions that are between messages get 421, a message that is being sent or in the receiver's hands is
  /// answered first. What is not over within the limit is cut off.
  package func stop(within limit: TimeAmount = .seconds(10)) async {
    for channel in channels { try? await channel.close() }
    let open = state.sessions.stop()
    for channel in open { channel.triggerUserOutboundEvent(EndSession(), promise: nil) }
    let timers = open.map { channel in channel.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) } }
    for channel in open { try? await channel.closeFuture.get() }
    for timer in timers { timer.cancel() }
  }
}

/// To a session: end when nothing is under way.
struct EndSession: Sendable {}

/// Counts since the start.
package struct InboundFigures: Sendable, Equatable {
  package enum Refusal: String, Sendable, CaseIterable {
    /// Of connections.
    case connections, connectionsPerPeer = "connections_per_peer", earlyTalker = "early_talker", tlsHandshake = "tls_handshake"
    /// Of commands and content.
    case timeout, badCommands = "bad_commands", bareLineEnd = "bare_line_end", pipelining, lineTooLong = "line_too_long"
    case authentication, sender, recipient, size, room
    /// The receiver's answers to whole messages.
    case message, messageLater = "message_later"
  }

  package var connections = 0
  /// Now.
  package var open = 0
  /// Messages answered 2xx.
  package var accepted = 0
  package var refused: [Refusal: Int] = [:]
}

/// What all sessions of a listener share.
final class ListenerState: Sendable {
  let options: SMTPListener.Options
  let receiver: any MailReceiver
  let tls: NIOLockedValueBox<TLSContext?>
  let figures = NIOLockedValueBox(InboundFigures())
  let sessions: SessionTable
  let gate: AcceptGate
  let room: SpoolRoom
  let hands: HandOver

  init(options: SMTPListener.Options, receiver: any MailReceiver) {
    self.options = options
    self.receiver = receiver
    tls = NIOLockedValueBox(options.tls)
    sessions = SessionTable(most: options.limits.connections, mostPerPeer: options.limits.connectionsPerPeer)
    gate = AcceptGate(most: options.limits.connections + AcceptGate.beingRefused)
    room = SpoolRoom(total: options.limits.held)
    hands = HandOver(total: options.limits.inHand)
  }

  func count(_ refusal: InboundFigures.Refusal) { figures.withLockedValue { $0.refused[refusal, default: 0] += 1 } }
}
