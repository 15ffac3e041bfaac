internal import MailModel
internal import NIOCore

/// When a session is over, whatever the client does.
struct SessionTime {
  /// How long a client may take to read our last reply.
  static let lingering = TimeAmount.seconds(2)

  /// Of the client's turn; none while it is ours.
  var deadline = NIODeadline.distantFuture
  /// Of all content of a message.
  var content = NIODeadline.distantFuture
  var session = NIODeadline.distantFuture
  var timer: Scheduled<Void>?
  var timerDue = NIODeadline.distantFuture
}

/// Out, and time.
extension InboundConnection {
  func write(_ reply: SMTPReply, _ context: ChannelHandlerContext) {
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
  func close(_ context: ChannelHandlerContext, _ reply: SMTPReply) {
    guard !isGone else { return }
    if case .closing = phase { return }
    phase = .closing
    content = nil
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
    wait(SessionTime.lingering, context)
  }

  /// Sends a client away that has no session. Nothing was read of it, and it costs a descriptor until it is gone: it is not
  /// waited for.
  func refuse(_ context: ChannelHandlerContext, _ reply: SMTPReply) {
    phase = .closing
    write(reply, context)
    mustFlush = false
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    let promise = context.eventLoop.makePromise(of: Void.self)
    promise.futureResult.whenComplete { _ in bound.value.close(promise: nil) }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
  }

  /// The client's turn: it has this long.
  func wait(_ limit: TimeAmount, _ context: ChannelHandlerContext) {
    time.deadline = min(.now() + limit, time.content)
    if case .content = phase {} else if case .closing = phase {} else { time.deadline = min(time.deadline, time.session) }
    if time.timer == nil || time.deadline < time.timerDue {
      time.timer?.cancel()
      schedule(context)
    }
  }

  private func schedule(_ context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    // While the receiver is at work there is no deadline; look again now and then.
    time.timerDue = min(time.deadline, .now() + .minutes(1))
    time.timer = context.eventLoop.scheduleTask(deadline: time.timerDue) {
      let (connection, context) = bound.value
      connection.time.timer = nil
      if !connection.isGone { connection.timeIsUp(context) }
    }
  }

  private func timeIsUp(_ context: ChannelHandlerContext) {
    guard NIODeadline.now() >= time.deadline else { return schedule(context) }
    switch phase {
    case .closing, .handshake: context.close(promise: nil)
    case .waiting: schedule(context)
    case .greeting, .command, .content:
      state.count(.timeout)
      close(context, SMTPReply(code: 421, lines: ["4.4.2 time is up"]))
    }
  }
}
