internal import MailModel
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import SMTPProtocol
internal import TLS

/// One connection: octets in, replies out, one step after the other. What a client may say and when is decided by
/// ``SMTPServerSession``; here are time, octets and the receiver.
final class InboundConnection: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  enum Phase {
    /// Of implicit TLS, or after STARTTLS.
    case handshake
    case greeting, command, content
    /// The receiver was asked.
    case waiting
    /// The last reply is on its way; what comes in is thrown away.
    case closing
  }

  /// What is kept unread of a client that talks while it is our turn.
  private static let mostBuffered = 64 << 10

  let state: ListenerState
  private let isImplicitTLS: Bool
  var limits: SMTPListener.Limits { state.options.limits }
  var session: SMTPServerSession
  var account: InboundAccount?
  var peer = ""
  private var peerKey = ""
  private var hasEntered = false
  var isGone = false
  var isEnding = false

  var phase = Phase.greeting
  var buffer = ByteBuffer()
  var scanned = 0
  var readIsHeld = false
  var mustFlush = false

  /// What is being received; nil between messages.
  var content: IncomingContent?
  var time = SessionTime()

  init(_ state: ListenerState, isImplicitTLS: Bool) {
    self.state = state
    self.isImplicitTLS = isImplicitTLS
    var policy = state.options.policy
    policy.offersTLS = state.tls.withLockedValue { $0 != nil }
    session = SMTPServerSession(policy)
  }

  // MARK: the channel

  func channelActive(context: ChannelHandlerContext) {
    let address = context.channel.remoteAddress
    peer = PeerAddress.text(address)
    peerKey = PeerAddress.key(address)
    time.session = .now() + limits.session
    state.figures.withLockedValue { $0.connections += 1 }
    switch state.sessions.enter(context.channel, peer: peerKey) {
    case nil: break
    case .peerFull:
      state.count(.connectionsPerPeer)
      return refuse(context, SMTPReply(code: 421, lines: ["4.7.0 too many connections from your address"]))
    case .full, .stopping:
      state.count(.connections)
      return refuse(context, SMTPReply(code: 421, lines: ["4.3.2 too many connections, try again later"]))
    }
    hasEntered = true
    state.figures.withLockedValue { $0.open += 1 }
    if isImplicitTLS { startTLS(context) } else { beginGreeting(context) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    isGone = true
    time.timer?.cancel()
    content = nil
    if hasEntered {
      hasEntered = false
      state.sessions.leave(context.channel, peer: peerKey)
      state.figures.withLockedValue { $0.open -= 1 }
    }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if case .handshake = phase, error is TLSError { state.count(.tlsHandshake) }
    context.close(promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard let event = event as? TLSEstablished else { return context.fireUserInboundEventTriggered(event) }
    guard case .handshake = phase else { return }
    session.tlsEstablished(event.version)
    if isImplicitTLS {
      beginGreeting(context)
    } else {
      phase = .command
      wait(limits.command, context)
    }
  }

  func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
    guard event is EndSession else { return context.triggerUserOutboundEvent(event, promise: promise) }
    isEnding = true
    switch phase {
    case .greeting, .command, .handshake: endIfAsked(context)
    case .content, .waiting, .closing: break
    }
    promise?.succeed()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var incoming = unwrapInboundIn(data)
    switch phase {
    case .closing: return
    case .greeting:
      // Whoever talks before the banner is due does not speak SMTP (RFC 5321 §3.1).
      state.count(.earlyTalker)
      return close(context, SMTPReply(code: 554, lines: ["5.5.1 you talk before the greeting"]))
    default: break
    }
    buffer.writeBuffer(&incoming)
    proceed(context)
  }

  /// Nothing is read while it is our turn and enough is there, or while the client does not read what we say.
  func read(context: ChannelHandlerContext) {
    if mayRead(context) { context.read() } else { readIsHeld = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { proceed(context) }
    context.fireChannelWritabilityChanged()
  }

  func mayRead(_ context: ChannelHandlerContext) -> Bool {
    switch phase {
    case .handshake, .closing, .greeting: true
    case .waiting: buffer.readableBytes < Self.mostBuffered
    case .command, .content: context.channel.isWritable || !context.channel.isActive
    }
  }
}
