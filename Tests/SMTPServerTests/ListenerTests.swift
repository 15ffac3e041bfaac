import Glibc
import MailModel
import NIOCore
import NIOPosix
import SMTPProtocol
import SMTPServer
import TLS
import TestSupport
import Testing

/// A receiver that does as the local part says: `no@` is refused, `slow@` takes until told, `later@` gets 451.
final class TestReceiver: MailReceiver {
  let taken = Locked<[(mail: ReceivedMail, octets: [UInt8])]>([])
  let isHeld = Locked(false)

  func accepts(recipient: String, session: InboundSession) async -> RecipientAnswer {
    recipient.hasPrefix("no@") ? .refused(SMTPReply(code: 550, lines: ["5.1.1 no"])) : .ok
  }

  func received(_ mail: ReceivedMail) async -> SMTPReply {
    while mail.recipients[0].hasPrefix("slow@"), isHeld.value { try? await Task.sleep(for: .milliseconds(5)) }
    guard !mail.recipients[0].hasPrefix("later@"), let octets = try? mail.content.octets() else {
      return SMTPReply(code: 451, lines: ["4.3.0 later"])
    }
    taken.change { $0.append((mail, octets)) }
    return SMTPReply(code: 250, lines: ["2.0.0 taken"])
  }
}

/// The listener as clients see it, octet for octet.
@Suite struct ListenerTests {
  struct Rig {
    let listener: SMTPListener
    let receiver = TestReceiver()
    let scratch: Scratch
    var port: Int { listener.ports[0] }

    init(_ change: (inout SMTPListener.Options) -> Void = { _ in }) async throws {
      scratch = try Scratch()
      var options = SMTPListener.Options(policy: SMTPServerPolicy(hostName: "mx.example", banner: "mx.example ready"), clock: { 42 })
      options.spoolDirectory = scratch.path
      change(&options)
      listener = try await SMTPListener.start(
        on: [.init(.address(host: "127.0.0.1", port: 0))], group: MultiThreadedEventLoopGroup.singleton, options: options,
        receiver: receiver)
    }

    /// Past EHLO.
    func client(_ source: String = "127.0.0.1") async throws -> RawClient {
      let client = try RawClient(port: port, source: source)
      #expect(try await client.reply() == "220 mx.example ready")
      #expect(try await client.ask("EHLO me.example").hasPrefix("250-mx.example|250-PIPELINING|250-SIZE 10485760"))
      return client
    }

    func end() async {
      // Not every test says goodbye.
      await listener.stop(within: .milliseconds(50))
      scratch.remove()
    }
  }

  @Test func aMessageComesInWhole() async throws {
    let rig = try await Rig()
    let client = try await rig.client()
    let lines = (0..<30_000).map { "\($0 % 7 == 0 ? "." : "")line \($0)" }.joined(separator: "\r\n") + "\r\n"
    for (text, recipient) in [("Subject: x\r\n\r\nhi\r\n", "a@b.example"), (lines, "c@b.example"), ("", "d@b.example")] {
      client.send("MAIL FROM:<s@a.example> SIZE=\(text.utf8.count)\r\nRCPT TO:<no@b.example>\r\nRCPT TO:<\(recipient)>\r\nDATA\r\n")
      for code in ["250", "550", "250", "354"] { #expect(try await client.reply()?.hasPrefix(code) == true) }
      client.send(text.isEmpty ? Array(".\r\n".utf8) : DotStuffing.stuff(Array(text.utf8)))
      #expect(try await client.reply(within: .seconds(20)) == "250 2.0.0 taken")
      let last = try #require(rig.receiver.taken.value.last)
      #expect(last.octets == Array(text.utf8))
      #expect(last.mail.recipients == [recipient] && last.mail.returnPath == "s@a.example" && last.mail.receivedAt == 42)
      #expect(last.mail.session == InboundSession(peer: "127.0.0.1", clientName: "me.example"))
    }
    client.send("MAIL FROM:<>\r\nRCPT TO:<later@b.example>\r\nDATA\r\n")
    for code in ["250", "250", "354"] { #expect(try await client.reply()?.hasPrefix(code) == true) }
    #expect(try await client.ask("x\r\n.") == "451 4.3.0 later")
    #expect(try await client.ask("QUIT") == "221 2.0.0 bye")
    #expect(try await client.reply() == nil)
    #expect(rig.listener.figures.accepted == 3 && rig.listener.figures.refused[.messageLater] == 1)
    await rig.end()
  }

  /// What each of these says before the connection ends, or goes on.
  static let hostile: [(String, [String])] = [
    ("NOOP\n", ["500 5.5.2"]), ("NO\rOP\r\n", ["500 5.5.2"]), (String(repeating: "x", count: 5000), ["500 5.5.6"]),
    ("MAIL FROM:<s@a.example>\nRCPT TO:<a@b.example>\r\n", ["500 5.5.2"]),
    ("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\nSubject: x\r\n", ["250", "250", "503 5.5.0"]),
    ("STARTTLS\r\nMAIL FROM:<>\r\n", ["502", "250"]),
  ]

  @Test(arguments: hostile.indices) func hostileDialogues(index: Int) async throws {
    let (text, replies) = Self.hostile[index]
    let rig = try await Rig()
    let client = try await rig.client()
    client.send(text)
    for reply in replies { #expect(try await client.reply()?.hasPrefix(reply) == true) }
    if !text.hasPrefix("STARTTLS") { #expect(try await client.reply() == nil) }
    #expect(rig.receiver.taken.value.isEmpty)
    await rig.end()
  }

  static let smuggled = [
    "\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\n\n.\r\n", "\r\r\n.\r\r\n", "\r\n.\r\r\n", "\n.\r",
  ]

  /// A second message hidden behind an end that is none: it never comes to be, and the first is refused.
  @Test(arguments: smuggled) func smuggling(end: String) async throws {
    let rig = try await Rig()
    let client = try await rig.client()
    client.send("MAIL FROM:<s@a.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")
    for code in ["250", "250", "354"] { #expect(try await client.reply()?.hasPrefix(code) == true) }
    client.send("Subject: one\r\n\r\nhi\(end)MAIL FROM:<admin@a.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\nSubject: two\r\n\r\n.\r\n")
    #expect(try await client.reply() == "550 5.6.0 lines must end in CRLF: a bare CR or LF is refused")
    #expect(try await client.ask("NOOP") == "250 2.0.0 ok")
    #expect(rig.receiver.taken.value.isEmpty)
    #expect(rig.listener.figures.refused[.bareLineEnd] == 1)
    await rig.end()
  }

  @Test func limitsOnClients() async throws {
    let rig = try await Rig {
      $0.limits.connections = 4
      $0.limits.connectionsPerPeer = 2
      $0.limits.command = .milliseconds(300)
      $0.limits.dataIdle = .milliseconds(300)
      $0.policy.maxSize = 10_000
    }
    let first = try RawClient(port: rig.port)
    let second = try RawClient(port: rig.port)
    _ = try await first.reply()
    _ = try await second.reply()
    let third = try RawClient(port: rig.port)
    #expect(try await third.reply()?.hasPrefix("421 4.7.0 too many connections from") == true)
    #expect(try await third.reply() == nil)
    let others = try ["127.0.0.2", "127.0.0.3"].map { try RawClient(port: rig.port, source: $0) }
    for other in others { #expect(try await other.reply()?.hasPrefix("220") == true) }
    let fifth = try RawClient(port: rig.port, source: "127.0.0.4")
    #expect(try await fifth.reply()?.hasPrefix("421 4.3.2") == true)
    // A line that trickles in does not keep the connection.
    for _ in 0..<100 where rig.listener.figures.refused[.timeout, default: 0] < 4 {
      first.send("N")
      try await Task.sleep(for: .milliseconds(20))
    }
    #expect(try await first.reply() == "421 4.4.2 time is up")
    try await eventually("all are gone") { rig.listener.figures.open == 0 }

    let idle = try RawClient(port: rig.port)
    _ = try await idle.reply()
    for line in ["EHLO me", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] { _ = try await idle.ask(line) }
    idle.send("half a")
    #expect(try await idle.reply() == "421 4.4.2 time is up")

    let large = try RawClient(port: rig.port)
    _ = try await large.reply()
    for line in ["EHLO me", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] { _ = try await large.ask(line) }
    #expect(try await large.ask(String(repeating: "x", count: 12_000) + "\r\n.") == "552 5.3.4 the limit is 10000 octets")
    #expect(try await large.ask("NOOP").hasPrefix("250"))
    for line in ["MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] { _ = try await large.ask(line) }
    large.send(String(repeating: "x", count: 60_000))
    #expect(try await large.reply() == "552 5.3.4 the message is much too large")
    #expect(rig.receiver.taken.value.isEmpty)
    await rig.end()
  }

  /// No more are taken than may be open at once; who waits comes in as others go.
  @Test func aBurstWaitsOutside() async throws {
    let gate = AcceptGate(most: 3)
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelInitializer { gate.guardDoor(of: $0) }
      .childChannelInitializer { child in child.eventLoop.makeCompletedFuture { try child.pipeline.syncOperations.addHandler(Greeter()) } }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    let clients = try (0..<12).map { _ in try RawClient(port: port) }
    for (number, client) in clients.enumerated() {
      #expect(try await client.reply() == "220 welcome")
      let isLast = number + 3 >= clients.count
      if !isLast {
        // Three are in; the one after them is not.
        await #expect(throws: TimedOut.self) { _ = try await clients[number + 3].reply(within: .milliseconds(30)) }
        #expect(gate.open == 3)
      }
      client.close()
    }
    try await eventually("all are gone") { gate.open == 0 }
    // A listener whose reading was turned off while it was full takes nobody once there is room.
    let full = try (0..<4).map { _ in try RawClient(port: port) }
    for client in full.prefix(3) { _ = try await client.reply() }
    try await server.setOption(.autoRead, value: false).get()
    full[0].close()
    try await eventually("one has gone") { gate.open == 2 }
    await #expect(throws: TimedOut.self) { _ = try await full[3].reply(within: .milliseconds(100)) }
    try await server.close()
  }

  private final class Greeter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelActive(context: ChannelHandlerContext) {
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "220 welcome\r\n")), promise: nil)
    }
  }

  @Test func whoTalksBeforeTheBannerIsRefused() async throws {
    let rig = try await Rig {
      $0.limits.bannerDelay = .milliseconds(400)
      $0.limits.delaysPrivatePeers = true
    }
    let early = try RawClient(port: rig.port)
    early.send("EHLO spam.example\r\n")
    #expect(try await early.reply() == "554 5.5.1 you talk before the greeting")
    let polite = try RawClient(port: rig.port)
    #expect(try await polite.reply() == "220 mx.example ready")
    #expect(rig.listener.figures.refused[.earlyTalker] == 1)
    await rig.end()
  }

  /// Who is between messages hears 421; a message in the receiver's hands is answered first.
  @Test func stoppingIsGraceful() async throws {
    let rig = try await Rig()
    rig.receiver.isHeld.change { $0 = true }
    let idle = try await rig.client()
    let busy = try await rig.client()
    let sending = try await rig.client()
    for line in ["MAIL FROM:<>", "RCPT TO:<slow@b.example>", "DATA"] { _ = try await busy.ask(line) }
    busy.send("Subject: x\r\n\r\n.\r\n")
    for line in ["MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] { _ = try await sending.ask(line) }
    async let stopped: Void = rig.listener.stop(within: .seconds(10))
    #expect(try await idle.reply() == "421 4.3.2 shutting down")
    #expect(throws: TimedOut.self) { _ = try RawClient(port: rig.port) }
    rig.receiver.isHeld.change { $0 = false }
    for client in [busy, sending] {
      if client === sending { client.send("Subject: y\r\n\r\n.\r\n") }
      #expect(try await client.reply() == "250 2.0.0 taken")
      #expect(try await client.reply() == "421 4.3.2 shutting down")
      #expect(try await client.reply() == nil)
    }
    for client in [idle, busy, sending] { client.close() }
    await stopped
    #expect(rig.receiver.taken.value.count == 2)
    rig.scratch.remove()
  }

  /// All sessions together hold no more than they may; what there is no room for is put off.
  @Test func roomIsShared() async throws {
    let rig = try await Rig { $0.limits.held = 300_000 }
    let held = try await rig.client()
    let late = try await rig.client()
    for client in [held, late] { for line in ["MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] { _ = try await client.ask(line) } }
    held.send(String(repeating: "x", count: 200_000))
    late.send(String(repeating: "y", count: 200_000) + "\r\n.\r\n")
    let answers = [
      try await late.reply(),
      {
        held.send("\r\n.\r\n"); return nil
      }(), try await held.reply(),
    ].compactMap { $0 }
    #expect(answers.sorted() == ["250 2.0.0 taken", "452 4.3.1 no room now, try again later"])
    for line in ["MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] { _ = try await late.ask(line) }
    rig.receiver.taken.change { $0 = [] }
    #expect(try await late.ask(String(repeating: "y", count: 200_000) + "\r\n.") == "250 2.0.0 taken")
    await rig.end()
  }

  /// Sockets that another program opened, STARTTLS and TLS from the first octet, and a certificate that is replaced.
  @Test func socketsAndCertificatesFromOutside() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    func context(_ name: String) throws -> TLSContext {
      let made = try run(
        "/usr/bin/openssl",
        [
          "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
          "/CN=\(name).example",
          "-keyout", scratch.file("k"), "-out", scratch.file("c"),
        ])
      #expect(made.code == 0, "\(made.errors)")
      return try TLSContext.server(certificateFile: scratch.file("c"), keyFile: scratch.file("k"))
    }
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    let isBound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    #expect(isBound == 0 && listen(descriptor, 16) == 0)
    var options = SMTPListener.Options(policy: SMTPServerPolicy(hostName: "mx.example", banner: "mx.example ready"), clock: { 42 })
    options.tls = try context("first")
    let listener = try await SMTPListener.start(
      on: [.init(.descriptor(descriptor)), .init(.address(host: "127.0.0.1", port: 0), isImplicitTLS: true)],
      group: MultiThreadedEventLoopGroup.singleton, options: options, receiver: TestReceiver())
    func handshake(_ index: Int) throws -> String {
      try run(
        "/bin/sh",
        [
          "-c",
          "(sleep 0.2; printf 'QUIT\\r\\n') | openssl s_client -ign_eof -connect 127.0.0.1:\(listener.ports[index]) \(index == 0 ? "-starttls smtp" : "") 2>&1",
        ]
      ).output
    }
    for index in 0...1 {
      let talk = try handshake(index)
      #expect(talk.contains("CN = first.example") && talk.contains("221 2.0.0 bye"), "\(talk.suffix(600))")
    }
    listener.setTLS(try context("second"))
    #expect(try handshake(0).contains("CN = second.example"))
    await #expect(throws: SMTPListener.StartError.self) {
      _ = try await SMTPListener.start(
        on: [.init(.address(host: "127.0.0.1", port: listener.ports[0]))], group: MultiThreadedEventLoopGroup.singleton, options: options,
        receiver: TestReceiver())
    }
    await listener.stop(within: .milliseconds(50))
  }
}
