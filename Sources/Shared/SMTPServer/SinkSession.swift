internal import Glibc
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import TLS

/// One session of the sink.
final class SinkSession: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private enum State { case command, data, chunk(remaining: Int, isLast: Bool) }

  private static let sessions = NIOLockedValueBox(0)

  private let options: SMTPSink.Options
  private let script: SinkScript
  private let take: @Sendable (SinkMessage) -> Void
  private let number: Int
  private var buffer = ByteBuffer()
  private var state = State.command
  private var peer = ""
  private var ehloName = ""
  private var returnPath: String?
  private var recipients: [String] = []
  private var body: [UInt8] = []
  private var transactions = 0
  private var isTLS = false
  /// While an answer is delayed nothing more is read.
  private var isWaiting = false
  private var isHung = false

  init(options: SMTPSink.Options, script: @escaping SinkScript, take: @escaping @Sendable (SinkMessage) -> Void) {
    self.options = options
    self.script = script
    self.take = take
    number = Self.sessions.withLockedValue { value in
      value += 1
      return value
    }
  }

  func channelActive(context: ChannelHandlerContext) {
    peer = context.channel.remoteAddress?.ipAddress ?? ""
    let moment = SinkMoment.connect(
      peer: peer, local: context.channel.localAddress?.ipAddress ?? "")
    perform(script(moment) ?? .reply("220 \(options.hostName) ESMTP sink"), context) {}
  }

  func channelInactive(context: ChannelHandlerContext) {
    options.closed?(peer)
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var incoming = unwrapInboundIn(data)
    buffer.writeBuffer(&incoming)
    proceed(context)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is TLSEstablished { isTLS = true }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func proceed(_ context: ChannelHandlerContext) {
    while !isWaiting, !isHung {
      switch state {
      case .command:
        guard let line = nextLine() else { return }
        command(line, context)
      case .data:
        guard readBody() else { return }
        endOfMessage(context)
      case .chunk(let remaining, let isLast):
        let bytes = buffer.readBytes(length: min(remaining, buffer.readableBytes)) ?? []
        body += bytes
        state = .chunk(remaining: remaining - bytes.count, isLast: isLast)
        guard remaining == bytes.count else { return }
        buffer.discardReadBytes()
        if isLast {
          endOfMessage(context)
        } else {
          state = .command
          perform(.reply("250 2.0.0 chunk taken"), context) {}
        }
      }
    }
  }

  /// `BDAT n [LAST]` (RFC 3030).
  private func beginChunk(_ line: String, _ context: ChannelHandlerContext) {
    let words = line.split(separator: " ")
    guard options.extensions.contains("CHUNKING"), words.count >= 2, let size = Int(words[1]), size >= 0 else {
      return perform(.reply("501 5.5.4 BDAT size [LAST]"), context) {}
    }
    guard !recipients.isEmpty else { return perform(SinkAction(.replyAndClose(["503 5.5.1 RCPT first"])), context) {} }
    state = .chunk(remaining: size, isLast: words.count > 2)
  }

  private func nextLine() -> String? {
    let view = buffer.readableBytesView
    guard let end = view.firstIndex(of: 0x0A) else { return nil }
    let count = end - view.startIndex + 1
    var line = buffer.readString(length: count) ?? ""
    while line.last == "\n" || line.last == "\r" || line.last == "\r\n" { line.removeLast() }
    buffer.discardReadBytes()
    return line
  }

  /// Moves body octets over; true when the final dot came.
  private func readBody() -> Bool {
    while let end = buffer.readableBytesView.firstIndex(of: 0x0A) {
      let count = end - buffer.readableBytesView.startIndex + 1
      guard var line = buffer.readBytes(length: count) else { return false }
      if line == [0x2E, 0x0D, 0x0A] || line == [0x2E, 0x0A] {
        buffer.discardReadBytes()
        return true
      }
      if line.first == 0x2E { line.removeFirst() }
      body += line
    }
    return false
  }

  private func command(_ line: String, _ context: ChannelHandlerContext) {
    let upper = line.uppercased()
    if upper.hasPrefix("EHLO") || upper.hasPrefix("HELO") {
      ehloName = String(line.dropFirst(5))
      perform(script(.ehlo(name: ehloName)) ?? SinkAction(.reply(greeting(upper.hasPrefix("EHLO")))), context) {}
    } else if upper.hasPrefix("MAIL FROM:") {
      let address = Self.address(line)
      perform(script(.mail(returnPath: address)) ?? .reply("250 2.1.0 ok"), context) {
        self.returnPath = address
        self.recipients = []
        self.body = []
      }
    } else if upper.hasPrefix("RCPT TO:") {
      guard returnPath != nil else { return perform(.reply("503 5.5.1 MAIL first"), context) {} }
      let address = Self.address(line)
      perform(script(.rcpt(recipient: address)) ?? .reply("250 2.1.5 ok"), context) { self.recipients.append(address) }
    } else if upper == "DATA" {
      guard !recipients.isEmpty else { return perform(.reply("503 5.5.1 RCPT first"), context) {} }
      perform(script(.data) ?? .reply("354 go ahead"), context) {
        self.state = .data
        self.body = []
      }
    } else if upper.hasPrefix("BDAT ") {
      beginChunk(upper, context)
    } else if upper == "RSET" {
      reset()
      perform(.reply("250 2.0.0 ok"), context) {}
    } else if upper == "NOOP" {
      perform(.reply("250 2.0.0 ok"), context) {}
    } else if upper == "QUIT" {
      perform(SinkAction(.replyAndClose(["221 2.0.0 bye"])), context) {}
    } else if upper == "STARTTLS", let tls = options.tls, !isTLS {
      startTLS(tls, context)
    } else {
      perform(.reply("500 5.5.2 not understood"), context) {}
    }
  }

  private func startTLS(_ tls: TLSContext, _ context: ChannelHandlerContext) {
    guard let handler = try? TLSHandler(context: tls, serverName: nil) else {
      return perform(.reply("454 4.7.0 TLS not available"), context) {}
    }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "220 2.0.0 ready\r\n")), promise: nil)
    reset()
    try? context.pipeline.syncOperations.addHandler(handler, position: .first)
  }

  private func greeting(_ isExtended: Bool) -> [String] {
    guard isExtended else { return ["250 \(options.hostName)"] }
    let extensions = options.extensions + (options.tls != nil && !isTLS ? ["STARTTLS"] : [])
    let lines = [options.hostName] + extensions
    return lines.enumerated().map { $0.offset == lines.count - 1 ? "250 \($0.element)" : "250-\($0.element)" }
  }

  private func endOfMessage(_ context: ChannelHandlerContext) {
    state = .command
    transactions += 1
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let message = SinkMessage(
      peer: context.channel.remoteAddress?.ipAddress ?? "", local: context.channel.localAddress?.ipAddress ?? "",
      ehloName: ehloName, returnPath: returnPath ?? "", recipients: recipients, octets: body, isTLS: isTLS,
      receivedAt: Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000, session: number, transaction: transactions)
    reset()
    perform(script(.message(message)) ?? .reply("250 2.0.0 <\(number).\(transactions)@\(options.hostName)> taken"), context) {
      self.take(message)
    }
  }

  private func reset() {
    returnPath = nil
    recipients = []
    body = []
  }

  /// - Parameter ifPositive: what follows when the reply is no refusal.
  private func perform(_ action: SinkAction, _ context: ChannelHandlerContext, ifPositive: @escaping () -> Void) {
    guard action.delay > .zero else { return finish(action, context, ifPositive) }
    isWaiting = true
    let bound = NIOLoopBound((self, context, ifPositive), eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: action.delay) {
      let (session, context, ifPositive) = bound.value
      session.isWaiting = false
      guard context.channel.isActive else { return }
      session.finish(action, context, ifPositive)
      session.proceed(context)
    }
  }

  private func finish(_ action: SinkAction, _ context: ChannelHandlerContext, _ ifPositive: () -> Void) {
    switch action.kind {
    case .reply(let lines):
      if let first = lines.first?.utf8.first, first == 0x32 || first == 0x33 { ifPositive() }
      write(lines.joined(separator: "\r\n") + "\r\n", context)
    case .raw(let text): write(text, context)
    case .close: context.close(promise: nil)
    case .hang: isHung = true
    case .replyAndClose(let lines):
      isHung = true
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n"))).whenComplete { _ in
        bound.value.close(promise: nil)
      }
    }
  }

  private func write(_ text: String, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
  }

  private static func address(_ line: String) -> String {
    guard let open = line.firstIndex(of: "<"), let close = line.lastIndex(of: ">"), open < close else { return "" }
    return String(line[line.index(after: open)..<close])
  }
}
