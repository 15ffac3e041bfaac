internal import MailModel
package import NIOCore
package import SMTPProtocol
package import TLS

/// One session with one server, from one source address: opened, used for many transactions, quit. Every method runs on
/// the session's event loop (the caller's executor must be that loop); nothing here is shared.
package final class SMTPConnection {
  package let target: SMTPTarget
  package private(set) var capabilities = SMTPCapabilities()
  /// `TLSv1.3` and the like; nil when plain.
  package private(set) var tlsVersion: String?
  /// Transactions begun.
  package private(set) var transactions = 0
  package let openedAt = NIODeadline.now()
  /// It offered CHUNKING and did not know BDAT: use DATA with this host.
  package private(set) var hasBrokenChunking = false

  package let channel: any Channel
  private let replies: ReplyHandler
  private var needsReset = false
  private var hasEnded = false

  private init(target: SMTPTarget, channel: any Channel, replies: ReplyHandler) {
    self.target = target
    self.channel = channel
    self.replies = replies
  }

  /// False once the session may not begin another transaction.
  package var isUsable: Bool { !hasEnded && channel.isActive && !replies.isSpoiled }

  /// A session, or why none came about, and which of the targets that speaks of.
  package struct Opening {
    package var target: SMTPTarget
    package var result: Result<SMTPConnection, SMTPOpenFailure>
  }

  /// Connects from the source address to the first address that answers, reads the greeting, says EHLO, and upgrades to TLS
  /// as the demand asks.
  /// - Parameters:
  ///   - targets: addresses of one host, best first; not empty. When the failure's stage is `connect`, none of them answered.
  ///   - began: gets each session's channel before it connects, so that the caller may close it at any time.
  package static func open(
    _ targets: [SMTPTarget], tls context: TLSContext, on eventLoop: any EventLoop,
    began: @escaping @Sendable (any Channel) -> Void = { _ in }
  ) async -> Opening {
    switch await Dialer(targets, on: eventLoop, began: began).dial() {
    case .failure(let failure):
      return Opening(target: targets[failure.index], result: .failure(SMTPOpenFailure(stage: .connect, fault: failure.fault)))
    case .success(let line):
      let connection = SMTPConnection(target: targets[line.index], channel: line.channel, replies: line.replies)
      guard let failure = await connection.introduce(tls: context) else {
        return Opening(target: connection.target, result: .success(connection))
      }
      connection.quit()
      return Opening(target: connection.target, result: .failure(failure))
    }
  }

  private func introduce(tls context: TLSContext) async -> SMTPOpenFailure? {
    switch await replies.next(.greeting, within: target.timeouts.command) {
    case .failure(let fault): return SMTPOpenFailure(stage: .greeting, fault: fault)
    case .success(let reply) where reply.code == 220: break
    case .success(let reply): return SMTPOpenFailure(stage: .greeting, reply: reply)
    }
    if let failure = await greet() { return failure }
    if capabilities.startTLS, target.tls != .never {
      if let failure = await upgrade(context) { return failure }
      return await greet()
    }
    if target.tls == .require {
      return SMTPOpenFailure(stage: .starttls, fault: .tls("TLS is required and \(target.hostName) does not offer STARTTLS"))
    }
    return nil
  }

  /// EHLO, or HELO where EHLO is not understood (RFC 5321 §3.2).
  private func greet() async -> SMTPOpenFailure? {
    send("EHLO \(target.ehloName)\r\n")
    switch await replies.next(.ehlo, within: target.timeouts.command) {
    case .failure(let fault): return SMTPOpenFailure(stage: .ehlo, fault: fault)
    case .success(let reply) where reply.code == 250:
      capabilities = SMTPCapabilities(ehlo: reply)
      return nil
    case .success(let reply) where [500, 501, 502, 504].contains(reply.code):
      send("HELO \(target.ehloName)\r\n")
      switch await replies.next(.ehlo, within: target.timeouts.command) {
      case .failure(let fault): return SMTPOpenFailure(stage: .ehlo, fault: fault)
      case .success(let reply): return reply.code == 250 ? nil : SMTPOpenFailure(stage: .ehlo, reply: reply)
      }
    case .success(let reply): return SMTPOpenFailure(stage: .ehlo, reply: reply)
    }
  }

  private func upgrade(_ context: TLSContext) async -> SMTPOpenFailure? {
    send("STARTTLS\r\n")
    switch await replies.next(.starttls, within: target.timeouts.command) {
    case .failure(let fault): return SMTPOpenFailure(stage: .starttls, fault: fault)
    case .success(let reply) where reply.code == 220: break
    case .success(let reply):
      return SMTPOpenFailure(stage: .starttls, reply: reply, fault: .tls("STARTTLS was refused: \(reply.text)"))
    }
    // Octets that came in the clear behind the 220 would be taken for the secured session's (RFC 3207 §5).
    guard !replies.isSpoiled else {
      return SMTPOpenFailure(stage: .starttls, fault: .tls("data behind the reply to STARTTLS"))
    }
    do {
      let handler = try TLSHandler(context: context, serverName: target.hostName)
      try channel.pipeline.syncOperations.addHandler(handler, position: .first)
    } catch {
      return SMTPOpenFailure(stage: .starttls, fault: .tls("\(error)"))
    }
    switch await replies.established(within: target.timeouts.command) {
    case .failure(.tls(let text)): return SMTPOpenFailure(stage: .starttls, fault: .tls(text))
    case .failure(let fault): return SMTPOpenFailure(stage: .starttls, fault: .tls(fault.description))
    case .success(let version):
      tlsVersion = version
      return nil
    }
  }

  /// One message to one recipient.
  /// - Parameters:
  ///   - message: header and body, every line ended with CRLF, not dot-stuffed.
  ///   - beforeDot: called before the octets that contain the final dot, or `BDAT … LAST`, go to the kernel; when it throws,
  ///     they do not go.
  package func transact(
    _ envelope: SMTPEnvelope, message: [UInt8], beforeDot: () throws -> Void, afterDot: () -> Void
  ) async -> SMTPTransactionResult {
    if let lacking = lacking(envelope, message.count) { return .unsupported(lacking) }
    transactions += 1
    let result = await attempt(envelope, message, beforeDot, afterDot)
    switch result {
    case .replied(let stage, let reply):
      needsReset = stage != .dot
      if reply.code == 421 { end() }
    case .lost, .uncertain: end()
    case .unsupported: break
    }
    return result
  }

  private func lacking(_ envelope: SMTPEnvelope, _ count: Int) -> String? {
    if envelope.isInternationalised && !capabilities.smtpUTF8 { return "SMTPUTF8" }
    if envelope.isEightBit && !capabilities.eightBitMIME { return "8BITMIME" }
    if let size = capabilities.size, size > 0, count > size { return "SIZE \(size)" }
    return nil
  }

  private func attempt(
    _ envelope: SMTPEnvelope, _ message: [UInt8], _ beforeDot: () throws -> Void, _ afterDot: () -> Void
  ) async -> SMTPTransactionResult {
    var commands: [(SMTPStage, String)] = [
      (.mail, envelope.mailCommand(capabilities, size: message.count)), (.rcpt, envelope.rcptCommand(capabilities)),
    ]
    let isChunked = capabilities.chunking && target.allowsChunking
    if !isChunked { commands.append((.data, "DATA\r\n")) }
    if needsReset {
      send("RSET\r\n")
      switch await replies.next(.mail, within: target.timeouts.command) {
      case .failure(let fault): return .lost(fault)
      case .success(let reply) where reply.code == 250: needsReset = false
      case .success(let reply): return .replied(.mail, reply)
      }
    }
    if capabilities.pipelining { send(commands.map(\.1).joined()) }
    var refusal: SMTPTransactionResult?
    for (stage, command) in commands {
      if !capabilities.pipelining {
        if refusal != nil { break }
        send(command)
      }
      switch await replies.next(stage, within: target.timeouts.command) {
      case .failure(let fault): return refusal ?? .lost(fault)
      case .success(let reply):
        let isGood = stage == .data ? reply.code == 354 : reply.code / 100 == 2
        if !isGood, refusal == nil { refusal = .replied(stage, reply) }
        if isGood, stage == .data, let refusal { return await abandon(refusal) }
      }
    }
    if let refusal { return refusal }
    return isChunked ? await chunks(message, beforeDot, afterDot) : await body(DotStuffing.stuff(message), beforeDot, afterDot)
  }

  /// The server took DATA though it refused MAIL or RCPT: an empty message to nobody ends it (RFC 2920 §3.1).
  private func abandon(_ refusal: SMTPTransactionResult) async -> SMTPTransactionResult {
    send(".\r\n")
    if case .failure = await replies.next(.data, within: target.timeouts.command) { end() }
    return refusal
  }

  private static let chunk = 256 * 1024

  private func body(_ octets: [UInt8], _ beforeDot: () throws -> Void, _ afterDot: () -> Void) async
    -> SMTPTransactionResult
  {
    let deadline = NIODeadline.now() + target.timeouts.data
    // The tail with the final dot is never written before the journal knows of it; what precedes it may go earlier.
    let tailStart = octets.count <= Self.chunk ? 0 : octets.count - 5
    if tailStart > 0, let fault = await stream(octets[..<tailStart], until: deadline) { return .lost(fault) }
    guard channel.isActive else { return .lost(.closed(.data)) }
    do { try beforeDot() } catch {
      end()
      return .lost(.protocolViolation(.data, "journal: \(error)"))
    }
    channel.writeAndFlush(ByteBuffer(bytes: octets[tailStart...]), promise: nil)
    afterDot()
    switch await replies.next(.dot, within: max(.seconds(1), deadline - .now())) {
    case .success(let reply): return .replied(.dot, reply)
    case .failure(let fault): return .uncertain(fault)
    }
  }

  /// `BDAT` (RFC 3030): all but the last chunk may go before the journal knows of the message.
  private func chunks(_ message: [UInt8], _ beforeDot: () throws -> Void, _ afterDot: () -> Void) async -> SMTPTransactionResult {
    let deadline = NIODeadline.now() + target.timeouts.data
    var start = 0
    while message.count - start > Self.chunk {
      let end = start + Self.chunk
      if let fault = await stream(Array("BDAT \(end - start)\r\n".utf8) + message[start..<end], until: deadline) { return .lost(fault) }
      switch await replies.next(.data, within: max(.seconds(1), deadline - .now())) {
      case .success(let reply) where reply.code / 100 == 2: start = end
      case .success(let reply): return Self.understood(reply) ? .replied(.data, reply) : lostChunking(reply)
      case .failure(let fault): return .lost(fault)
      }
    }
    guard channel.isActive else { return .lost(.closed(.data)) }
    do { try beforeDot() } catch {
      end()
      return .lost(.protocolViolation(.data, "journal: \(error)"))
    }
    var last = ByteBuffer(string: "BDAT \(message.count - start) LAST\r\n")
    last.writeBytes(message[start...])
    channel.writeAndFlush(last, promise: nil)
    afterDot()
    switch await replies.next(.dot, within: max(.seconds(1), deadline - .now())) {
    case .success(let reply): return Self.understood(reply) ? .replied(.dot, reply) : lostChunking(reply)
    case .failure(let fault): return .uncertain(fault)
    }
  }

  /// False for a server that offers CHUNKING and does not know the command.
  private static func understood(_ reply: SMTPReply) -> Bool { reply.code != 500 && reply.code != 502 }

  /// It took nothing, and reads the message for commands: the session is over, and says nothing of the message.
  private func lostChunking(_ reply: SMTPReply) -> SMTPTransactionResult {
    end()
    hasBrokenChunking = true
    return .lost(.protocolViolation(.data, "BDAT was offered and refused: \(reply.text)"))
  }

  /// Writes with back-pressure: each chunk leaves for the kernel before the next is taken, all before the deadline.
  private func stream(_ octets: ArraySlice<UInt8>, until deadline: NIODeadline) async -> SMTPFault? {
    let channel = channel
    let guardTask = channel.eventLoop.scheduleTask(deadline: deadline) { channel.close(promise: nil) }
    defer { guardTask.cancel() }
    var start = octets.startIndex
    while start < octets.endIndex {
      let end = min(start + Self.chunk, octets.endIndex)
      do { try await channel.writeAndFlush(ByteBuffer(bytes: octets[start..<end])).get() } catch {
        return NIODeadline.now() >= deadline ? .timedOut(.data) : .closed(.data)
      }
      start = end
    }
    return nil
  }

  /// Says QUIT and lets go; does not wait for the answer.
  package func quit() {
    guard !hasEnded else { return }
    hasEnded = true
    guard channel.isActive else { return }
    let channel = channel
    send("QUIT\r\n")
    channel.eventLoop.scheduleTask(in: target.timeouts.quit) { channel.close(promise: nil) }
  }

  /// Drops the connection at once.
  package func end() {
    hasEnded = true
    channel.close(promise: nil)
  }

  private func send(_ text: String) { channel.writeAndFlush(ByteBuffer(string: text), promise: nil) }
}
