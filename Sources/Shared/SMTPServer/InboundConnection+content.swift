internal import MailModel
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import SMTPProtocol

/// A message: from DATA to the receiver's answer.
extension InboundConnection {
  func beginContent(_ context: ChannelHandlerContext) {
    // DATA is the last of a pipelined group (RFC 2920 §3.1): what follows it unasked is not meant as content.
    guard buffer.readableBytes == 0 else {
      state.count(.pipelining)
      return close(context, SMTPReply(code: 503, lines: ["5.5.0 content before 354"]))
    }
    content = IncomingContent(
      spool: MailSpool(directory: state.options.spoolDirectory, room: state.room), maxSize: session.policy.maxSize)
    phase = .content
    time.content = .now() + limits.data
    write(SMTPReply(code: 354, lines: ["end with CRLF.CRLF"]), context)
    wait(limits.dataIdle, context)
  }

  /// - Returns: true when the end of the content was read.
  func readContent(_ context: ChannelHandlerContext) -> Bool {
    guard buffer.readableBytes > 0, var content else { return false }
    self.content = nil
    let consumed = buffer.withUnsafeReadableBytes { content.feed($0) }
    guard let consumed else {
      buffer.clear()
      guard content.received <= 4 * session.policy.maxSize else {
        state.count(.size)
        close(context, SMTPReply(code: 552, lines: ["5.3.4 the message is much too large"]))
        return false
      }
      self.content = content
      wait(limits.dataIdle, context)
      return false
    }
    buffer.moveReaderIndex(forwardBy: consumed)
    buffer.discardReadBytes()
    endContent(content, context)
    return true
  }

  private func endContent(_ incoming: IncomingContent, _ context: ChannelHandlerContext) {
    let transaction = session.contentEnded()
    time.content = .distantFuture
    phase = .command
    if incoming.hasBareLineEnd {
      state.count(.bareLineEnd)
      return answer(SMTPReply(code: 550, lines: ["5.6.0 lines must end in CRLF: a bare CR or LF is refused"]), context)
    }
    if incoming.isTooLarge {
      state.count(.size)
      return answer(SMTPReply(code: 552, lines: ["5.3.4 the limit is \(session.policy.maxSize) octets"]), context)
    }
    guard let content = incoming.finish() else {
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
}
