internal import MailModel
internal import NIOCore
internal import SMTPProtocol
internal import TLS

/// The receiving half of a session: parses replies, keeps them in order, wakes the one who waits. Lives on its event loop.
final class ReplyHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private var parser = SMTPReplyParser()
  private var replies = CircularBuffer<SMTPReply>()
  private var fault: SMTPFault?
  private var stage: SMTPStage = .greeting
  private var waiter: CheckedContinuation<Result<SMTPReply, SMTPFault>, Never>?
  private var tlsWaiter: CheckedContinuation<Result<String, SMTPFault>, Never>?
  private var tlsVersion: String?
  private var deadline: Scheduled<Void>?
  private let eventLoop: any EventLoop

  init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  /// Something came that nobody asked for, or the session is over: do not use it again.
  var isSpoiled: Bool { fault != nil || !replies.isEmpty || parser.isMidReply }

  /// The next reply, at most `limit` from now, however slowly it trickles.
  func next(_ stage: SMTPStage, within limit: TimeAmount) async -> Result<SMTPReply, SMTPFault> {
    self.stage = stage
    if let reply = replies.popFirst() { return .success(reply) }
    if let fault { return .failure(fault) }
    return await withCheckedContinuation { continuation in
      waiter = continuation
      startDeadline(stage, limit)
    }
  }

  /// The TLS version, once the handshake is done.
  func established(within limit: TimeAmount) async -> Result<String, SMTPFault> {
    stage = .starttls
    if let tlsVersion { return .success(tlsVersion) }
    if let fault { return .failure(fault) }
    return await withCheckedContinuation { continuation in
      tlsWaiter = continuation
      startDeadline(.starttls, limit)
    }
  }

  private func startDeadline(_ stage: SMTPStage, _ limit: TimeAmount) {
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    deadline = eventLoop.scheduleTask(in: limit) { bound.value.end(.timedOut(stage)) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard fault == nil else { return }
    do {
      try parser.feed(unwrapInboundIn(data).readableBytesView) { reply in
        if let waiter {
          self.waiter = nil
          deadline?.cancel()
          waiter.resume(returning: .success(reply))
        } else {
          replies.append(reply)
        }
      }
      // A peer that talks without being asked may fill no memory.
      if replies.count > 16 { throw SMTPProtocolError.tooLong }
    } catch {
      end(.protocolViolation(stage, "\(error)"))
      context.close(promise: nil)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? TLSEstablished {
      tlsVersion = event.version
      deadline?.cancel()
      tlsWaiter?.resume(returning: .success(event.version))
      tlsWaiter = nil
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let error = error as? TLSError { end(.tls(error.description)) } else { end(.closed(stage)) }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { end(.closed(stage)) }

  private func end(_ reason: SMTPFault) {
    if fault == nil { fault = reason }
    deadline?.cancel()
    waiter?.resume(returning: .failure(fault ?? reason))
    waiter = nil
    tlsWaiter?.resume(returning: .failure(fault ?? reason))
    tlsWaiter = nil
  }
}
