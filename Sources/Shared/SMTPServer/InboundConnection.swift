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

  private enum Phase {
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
  /// How long a client may take to read our last reply.
  private static let lingering = TimeAmount.seconds(2)

  private let state: ListenerState
  private let isImplicitTLS: Bool
  private var limits: SMTPListener.Limits { state.options.limits }
  private var session: SMTPServerSession
  private var account: InboundAccount?
  private var peer = ""
  private var peerKey = ""
  private var hasEntered = false
  private var isGone = false
  private var isEnding = false

  private var phase = Phase.greeting
  private var buffer = ByteBuffer()
  private var scanned = 0
  private var readIsHeld = false
  private var mustFlush = false

  private var reader = MailContentReader()
  private var spool: MailSpool?
  private var received = 0
  private var spoolFault: SpoolError?

  private var deadline = NIODeadline.distantFuture
  private var contentDeadline = NIODeadline.distantFuture
  private var sessionDeadline = NIODeadline.distantFuture
  private var timer: Scheduled<Void>?
  private var timerDue = NIODeadline.distantFuture

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
    sessionDeadline = .now() + limits.session
    state.figures.withLockedValue { $0.connections += 1 }
    switch state.sessions.enter(context.channel, peer: peerKey) {
    case nil: break
    case .peerFull:
      state.count(.connectionsPerPeer)
      return close(context, SMTPReply(code: 421, lines: ["4.7.0 too many connections from your address"]))
    case .full, .stopping:
      state.count(.connections)
      return close(context, SMTPReply(code: 421, lines: ["4.3.2 too many connections, try again later"]))
    }
    hasEntered = true
    state.figures.withLockedValue { $0.open += 1 }
    if isImplicitTLS { startTLS(context) } else { beginGreeting(context) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    isGone = true
    timer?.cancel()
    spool = nil
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

  private func mayRead(_ context: ChannelHandlerContext) -> Bool {
    switch phase {
    case .handshake, .closing, .greeting: true
    case .waiting: buffer.readableBytes < Self.mostBuffered
    case .command, .content: context.channel.isWritable || !context.channel.isActive
    }
  }

  // MARK: steps

  private func beginGreeting(_ context: ChannelHandlerContext) {
    phase = .greeting
    let isDelayed = limits.bannerDelay > .zero && (limits.delaysPrivatePeers || !PeerAddress.isPrivate(peer))
    guard isDelayed else { return greet(context) }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: limits.bannerDelay) {
      let (connection, context) = bound.value
      if !connection.isGone { connection.greet(context) }
    }
  }

  private func greet(_ context: ChannelHandlerContext) {
    guard case .greeting = phase else { return }
    write(session.greeting, context)
    phase = .command
    wait(limits.command, context)
    endIfAsked(context)
    proceed(context)
  }

  /// Works on what is there until it is the client's or the receiver's turn.
  private func proceed(_ context: ChannelHandlerContext) {
    while !isGone, context.channel.isWritable {
      if case .command = phase, readCommand(context) { continue }
      if case .content = phase, readContent(context) { continue }
      break
    }
    if mustFlush {
      mustFlush = false
      context.flush()
    }
    if readIsHeld, !isGone, mayRead(context) {
      readIsHeld = false
      context.read()
    }
  }

  /// - Returns: true when there may be more to do.
  private func readCommand(_ context: ChannelHandlerContext) -> Bool {
    let found = buffer.withUnsafeReadableBytes { CommandLine.find(in: $0, scanned: scanned, limit: limits.line) }
    scanned = 0
    switch found {
    case .incomplete(let count):
      scanned = count
      return false
    case .bareLineEnd:
      state.count(.bareLineEnd)
      close(context, SMTPReply(code: 500, lines: ["5.5.2 lines must end in CRLF: a bare CR or LF is refused"]))
      return false
    case .tooLong:
      state.count(.lineTooLong)
      close(context, SMTPReply(code: 500, lines: ["5.5.6 line too long"]))
      return false
    case .line(let length):
      let line = buffer.readBytes(length: length) ?? []
      buffer.moveReaderIndex(forwardBy: 2)
      buffer.discardReadBytes()
      perform(session.receive(line), context)
      return true
    }
  }

  private func perform(_ step: SMTPServerSession.Step, _ context: ChannelHandlerContext) {
    switch step {
    case .reply(let reply):
      write(reply, context)
      wait(limits.command, context)
    case .replyAndClose(let reply):
      if reply.code != 221 { state.count(.badCommands) }
      close(context, reply)
    case .askSender(let sender):
      let asked = SMTPSender(returnPath: sender.returnPath, parameters: sender.parameters)
      let receiver = state.receiver
      let known = known
      ask(context, { await receiver.refusal(of: asked, session: known) }) { connection, refusal in
        if refusal != nil { connection.state.count(.sender) }
        return connection.session.senderAnswered(refusal)
      }
    case .askRecipient(let address):
      let receiver = state.receiver
      let known = known
      ask(context, { await receiver.accepts(recipient: address, session: known) }) { connection, answer in
        switch answer {
        case .ok: return connection.session.recipientAnswered(nil)
        case .refused(let reply), .later(let reply):
          connection.state.count(.recipient)
          return connection.session.recipientAnswered(reply)
        }
      }
    case .authenticate(let user, let password):
      let receiver = state.receiver
      let known = known
      ask(context, { await receiver.authenticate(user: user, password: password, session: known) }) { connection, answer in
        switch answer {
        case .ok(let account):
          connection.account = account
          return connection.session.authenticated(nil)
        case .refused(let reply):
          connection.state.count(.authentication)
          return connection.session.authenticated(reply)
        }
      }
    case .startTLS:
      // RFC 3207 §4.2: nothing said in the clear may count as said inside.
      guard buffer.readableBytes == 0 else {
        state.count(.pipelining)
        return close(context, SMTPReply(code: 554, lines: ["5.5.1 nothing may follow STARTTLS before the handshake"]))
      }
      write(SMTPReply(code: 220, lines: ["2.0.0 go ahead"]), context)
      context.flush()
      startTLS(context)
    case .beginContent: beginContent(context)
    }
  }

  private func startTLS(_ context: ChannelHandlerContext) {
    phase = .handshake
    wait(limits.command, context)
    do {
      guard let tls = state.tls.withLockedValue({ $0 }) else { throw TLSError.setup("no certificate") }
      try context.pipeline.syncOperations.addHandler(try TLSHandler(context: tls, serverName: nil), position: .first)
    } catch { context.close(promise: nil) }
  }

  private var known: InboundSession {
    InboundSession(
      peer: peer, clientName: session.clientName ?? "", isExtended: session.isExtended, tlsVersion: session.tlsVersion, account: account)
  }

  // MARK: content

  private func beginContent(_ context: ChannelHandlerContext) {
    // DATA is the last of a pipelined group (RFC 2920 §3.1): what follows it unasked is not meant as content.
    guard buffer.readableBytes == 0 else {
      state.count(.pipelining)
      return close(context, SMTPReply(code: 503, lines: ["5.5.0 content before 354"]))
    }
    reader = MailContentReader()
    spool = MailSpool(directory: state.options.spoolDirectory, room: state.room)
    received = 0
    spoolFault = nil
    phase = .content
    contentDeadline = .now() + limits.data
    write(SMTPReply(code: 354, lines: ["end with CRLF.CRLF"]), context)
    wait(limits.dataIdle, context)
  }

  /// - Returns: true when the end of the content was read.
  private func readContent(_ context: ChannelHandlerContext) -> Bool {
    guard buffer.readableBytes > 0 else { return false }
    var reader = reader
    let consumed = buffer.withUnsafeReadableBytes { octets in
      reader.feed(octets) { piece in take(piece) }
    }
    self.reader = reader
    guard let consumed else {
      buffer.clear()
      guard received <= 4 * session.policy.maxSize else {
        state.count(.size)
        close(context, SMTPReply(code: 552, lines: ["5.3.4 the message is much too large"]))
        return false
      }
      wait(limits.dataIdle, context)
      return false
    }
    buffer.moveReaderIndex(forwardBy: consumed)
    buffer.discardReadBytes()
    endContent(context)
    return true
  }

  private func take(_ piece: UnsafeRawBufferPointer) {
    received += piece.count
    guard let spool else { return }
    guard received <= session.policy.maxSize, !reader.hasBareLineEnd else {
      // Refused anyhow: what there is of it need not be kept.
      self.spool = nil
      return
    }
    do { try spool.append(piece) } catch {
      spoolFault = error
      self.spool = nil
    }
  }

  private func endContent(_ context: ChannelHandlerContext) {
    let transaction = session.contentEnded()
    contentDeadline = .distantFuture
    phase = .command
    defer { spool = nil }
    if reader.hasBareLineEnd {
      state.count(.bareLineEnd)
      return answer(SMTPReply(code: 550, lines: ["5.6.0 lines must end in CRLF: a bare CR or LF is refused"]), context)
    }
    if received > session.policy.maxSize {
      state.count(.size)
      return answer(SMTPReply(code: 552, lines: ["5.3.4 the limit is \(session.policy.maxSize) octets"]), context)
    }
    guard let content = try? spool?.finish(), spoolFault == nil else {
      state.count(.room)
      return answer(SMTPReply(code: 452, lines: ["4.3.1 no room now, try again later"]), context)
    }
    let mail = ReceivedMail(
      session: known, returnPath: transaction.returnPath, recipients: transaction.recipients, parameters: transaction.parameters,
      content: content, receivedAt: state.options.clock())
    let state = state
    let work: @Sendable () async -> SMTPReply = {
      await state.hands.acquire(mail.content.size)
      let reply = await state.receiver.received(mail)
      await state.hands.release(mail.content.size)
      state.figures.withLockedValue { figures in
        if reply.isPositive {
          figures.accepted += 1
        } else {
          figures.refused[reply.isPermanent ? .message : .messageLater, default: 0] += 1
        }
      }
      return reply
    }
    ask(context, work) { _, reply in reply.code == 421 ? .replyAndClose(reply) : .reply(reply) }
  }

  private func answer(_ reply: SMTPReply, _ context: ChannelHandlerContext) {
    write(reply, context)
    wait(limits.command, context)
    endIfAsked(context)
  }

  // MARK: the receiver

  /// Asks, and goes on with the step that its answer leads to. Nothing is read from the buffer meanwhile.
  private func ask<Answer: Sendable>(
    _ context: ChannelHandlerContext, _ work: @escaping @Sendable () async -> Answer,
    then: @escaping (InboundConnection, Answer) -> SMTPServerSession.Step
  ) {
    phase = .waiting
    deadline = .distantFuture
    let promise = context.eventLoop.makePromise(of: Answer.self)
    let bound = NIOLoopBound((self, context, then), eventLoop: context.eventLoop)
    promise.futureResult.whenSuccess { answer in
      let (connection, context, then) = bound.value
      guard !connection.isGone else { return }
      connection.phase = .command
      connection.perform(then(connection, answer), context)
      connection.endIfAsked(context)
      connection.proceed(context)
    }
    promise.completeWithTask { await work() }
  }

  /// Ends a session that is between messages when the listener stops.
  private func endIfAsked(_ context: ChannelHandlerContext) {
    guard isEnding else { return }
    switch phase {
    case .handshake: context.close(promise: nil)
    case .greeting, .command: close(context, SMTPReply(code: 421, lines: ["4.3.2 shutting down"]))
    case .content, .waiting, .closing: break
    }
  }

  // MARK: out, and time

  private func write(_ reply: SMTPReply, _ context: ChannelHandlerContext) {
    var text = ""
    for (index, line) in reply.lines.enumerated() {
      text += "\(reply.code)\(index == reply.lines.count - 1 ? " " : "-")\(line)\r\n"
    }
    if reply.lines.isEmpty { text = "\(reply.code) \r\n" }
    context.write(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    mustFlush = true
  }

  /// Says the last word, lets the client read it, and closes: closing at once with octets unread would make the kernel reset
  /// the connection, and the reply would be lost.
  private func close(_ context: ChannelHandlerContext, _ reply: SMTPReply) {
    guard !isGone else { return }
    if case .closing = phase { return }
    phase = .closing
    spool = nil
    buffer.clear()
    write(reply, context)
    mustFlush = false
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    let promise = context.eventLoop.makePromise(of: Void.self)
    promise.futureResult.whenComplete { _ in
      let (connection, context) = bound.value
      if !connection.isGone { context.close(mode: .output, promise: nil) }
    }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
    wait(Self.lingering, context)
  }

  /// The client's turn: it has this long.
  private func wait(_ limit: TimeAmount, _ context: ChannelHandlerContext) {
    deadline = min(.now() + limit, contentDeadline)
    if case .content = phase {} else if case .closing = phase {} else { deadline = min(deadline, sessionDeadline) }
    if timer == nil || deadline < timerDue {
      timer?.cancel()
      schedule(context)
    }
  }

  private func schedule(_ context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    // While the receiver is at work there is no deadline; look again now and then.
    timerDue = min(deadline, .now() + .minutes(1))
    timer = context.eventLoop.scheduleTask(deadline: timerDue) {
      let (connection, context) = bound.value
      connection.timer = nil
      if !connection.isGone { connection.timeIsUp(context) }
    }
  }

  private func timeIsUp(_ context: ChannelHandlerContext) {
    guard NIODeadline.now() >= deadline else { return schedule(context) }
    switch phase {
    case .closing, .handshake: context.close(promise: nil)
    case .waiting: schedule(context)
    case .greeting, .command, .content:
      state.count(.timeout)
      close(context, SMTPReply(code: 421, lines: ["4.4.2 time is up"]))
    }
  }
}
