internal import MailModel
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import SMTPProtocol
internal import TLS

/// Commands: read, answered, and asked of the receiver.
extension InboundConnection {
  func beginGreeting(_ context: ChannelHandlerContext) {
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
  func proceed(_ context: ChannelHandlerContext) {
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

  func perform(_ step: SMTPServerSession.Step, _ context: ChannelHandlerContext) {
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

  func startTLS(_ context: ChannelHandlerContext) {
    phase = .handshake
    wait(limits.command, context)
    do {
      guard let tls = state.tls.withLockedValue({ $0 }) else { throw TLSError.setup("no certificate") }
      try context.pipeline.syncOperations.addHandler(try TLSHandler(context: tls, serverName: nil), position: .first)
    } catch { context.close(promise: nil) }
  }

  var known: InboundSession {
    InboundSession(
      peer: peer, clientName: session.clientName ?? "", isExtended: session.isExtended, tlsVersion: session.tlsVersion, account: account)
  }

  // MARK: the receiver

  /// Asks, and goes on with the step that its answer leads to. Nothing is read from the buffer meanwhile.
  func ask<Answer: Sendable>(
    _ context: ChannelHandlerContext, _ work: @escaping @Sendable () async -> Answer,
    then: @escaping (InboundConnection, Answer) -> SMTPServerSession.Step
  ) {
    phase = .waiting
    time.deadline = .distantFuture
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
  func endIfAsked(_ context: ChannelHandlerContext) {
    guard isEnding else { return }
    switch phase {
    case .handshake: context.close(promise: nil)
    case .greeting, .command: close(context, SMTPReply(code: 421, lines: ["4.3.2 shutting down"]))
    case .content, .waiting, .closing: break
    }
  }
}
