import MailModel
import NIOCore
import NIOPosix
import SMTPProtocol
@testable import SMTPClient
import SMTPServer
import TLS
import TestSupport
import Testing

/// The client against a real sink that behaves as told.
@Suite struct ConnectionTests {
  /// Sessions live on one event loop; so does everything here.
  actor Rig {
    nonisolated let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }

    struct Result: Sendable {
      var opened: String
      var outcomes: [SMTPTransactionResult] = []
      var tls: String?
      var dotsPrepared = 0
      var took: [SinkMessage] = []
    }

    func run(
      script: @escaping SinkScript = { _ in nil }, extensions: [String]? = nil, tls: TLSContext? = nil,
      demand: Route.TLSDemand = .opportunistic,
      source: String = "127.0.0.31", messages: Int = 1, recipient: String = "u@b.example",
      octets: [UInt8] = Array("Subject: x\r\n\r\nhi\r\n".utf8),
      dotFails: Bool = false
    ) async throws -> Result {
      let log = SinkLog()
      var options = SMTPSink.Options()
      if let extensions { options.extensions = extensions }
      options.tls = tls
      let sink = try await SMTPSink.start(
        host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, options: options, script: script, take: { log.take($0) })
      var timeouts = SMTPTimeouts()
      timeouts.connect = .seconds(2)
      timeouts.command = .milliseconds(700)
      timeouts.data = octets.count > 100_000 ? .seconds(20) : .milliseconds(900)
      let target = SMTPTarget(
        hostName: "mx.b.example", address: "127.0.0.1", port: sink.port, sourceIP: source, ehloName: "me.example", tls: demand,
        timeouts: timeouts)
      var result = Result(opened: "")
      switch await SMTPConnection.open([target], tls: try TLSContext.client(), on: eventLoop).result {
      case .failure(let failure): result.opened = "\(failure.stage.rawValue): \(failure.text)"
      case .success(let connection):
        result.opened = "ok"
        result.tls = connection.tlsVersion
        for _ in 0..<messages where connection.isUsable {
          let envelope = SMTPEnvelope(
            returnPath: "r@h.example", recipient: recipient, isInternationalised: recipient.utf8.contains { $0 >= 0x80 }, isEightBit: false)
          var prepared = 0
          let outcome = await connection.transact(
            envelope, message: octets,
            beforeDot: {
              prepared += 1
              if dotFails { throw SMTPFault.closed(.data) }
            }, afterDot: {})
          result.dotsPrepared += prepared
          result.outcomes.append(outcome)
        }
        connection.quit()
      }
      await sink.stop()
      result.took = log.all
      return result
    }

    /// Why there is no session with a server that is none.
    func knock(at port: Int) async throws -> String {
      var timeouts = SMTPTimeouts()
      timeouts.command = .milliseconds(700)
      let target = SMTPTarget(
        hostName: "mx.b.example", address: "127.0.0.1", port: port, sourceIP: "127.0.0.31", ehloName: "me.example", tls: .opportunistic,
        timeouts: timeouts)
      switch await SMTPConnection.open([target], tls: try TLSContext.client(), on: eventLoop).result {
      case .failure(let failure): return failure.text
      case .success: return "it was taken for a server"
      }
    }

    /// One message to any server.
    func talk(to port: Int) async throws -> (result: SMTPTransactionResult, isBroken: Bool, isUsable: Bool) {
      let target = SMTPTarget(
        hostName: "mx.b.example", address: "127.0.0.1", port: port, sourceIP: "127.0.0.31", ehloName: "me.example", tls: .opportunistic,
        timeouts: SMTPTimeouts())
      let connection = try await SMTPConnection.open([target], tls: try TLSContext.client(), on: eventLoop).result.get()
      let envelope = SMTPEnvelope(returnPath: "r@h.example", recipient: "u@b.example", isInternationalised: false, isEightBit: false)
      let result = await connection.transact(envelope, message: Array("Subject: x\r\n\r\nhi\r\n".utf8), beforeDot: {}, afterDot: {})
      return (result, connection.hasBrokenChunking, connection.isUsable)
    }
  }

  @Test func severalMessagesOnOneSession() async throws {
    for extensions in [["PIPELINING", "SIZE 1000"], [], ["CHUNKING"], ["CHUNKING", "PIPELINING", "DSN"]] {
      let result = try await Rig().run(extensions: extensions, messages: 3)
      #expect(result.took.count == 3 && Set(result.took.map(\.session)).count == 1)
      #expect(result.took.allSatisfy { $0.peer == "127.0.0.31" && $0.ehloName == "me.example" })
      #expect(result.outcomes.allSatisfy { if case .replied(.dot, let reply) = $0 { reply.code == 250 } else { false } })
    }
  }

  static let misbehaviours: [(String, SinkScript, String, String)] = [
    ("greeting 554", { if case .connect = $0 { .reply("554 no") } else { nil } }, "greeting: 554 no", ""),
    ("greeting 421", { if case .connect = $0 { .reply("421 busy") } else { nil } }, "greeting: 421 busy", ""),
    ("silent", { if case .connect = $0 { SinkAction(.hang) } else { nil } }, "greeting: timed out at greeting", ""),
    ("closes", { if case .connect = $0 { SinkAction(.close) } else { nil } }, "greeting: connection closed at greeting", ""),
    (
      "garbage", { if case .connect = $0 { SinkAction(.raw("SSH-2.0-x\r\n")) } else { nil } },
      "greeting: protocol violation at greeting: malformed reply: SSH-2.0-x", ""
    ),
    (
      "endless", { if case .connect = $0 { SinkAction(.raw(String(repeating: "x", count: 200_000))) } else { nil } },
      "greeting: protocol violation at greeting: the reply is too long", ""
    ),
    ("EHLO 550", { if case .ehlo = $0 { .reply("550 no") } else { nil } }, "ehlo: 550 no", ""),
    ("MAIL 451", { if case .mail = $0 { .reply("451 4.7.1 later") } else { nil } }, "ok", "mail 451"),
    ("RCPT 550", { if case .rcpt = $0 { .reply("550 5.1.1 no") } else { nil } }, "ok", "rcpt 550"),
    ("RCPT hangs", { if case .rcpt = $0 { SinkAction(.hang) } else { nil } }, "ok", "lost timed out at rcpt"),
    ("DATA 451", { if case .data = $0 { .reply("451 4.3.0 no") } else { nil } }, "ok", "data 451"),
    ("closes at DATA", { if case .data = $0 { SinkAction(.close) } else { nil } }, "ok", "lost connection closed at "),
    ("dot 550", { if case .message = $0 { .reply("550 5.7.1 spam") } else { nil } }, "ok", "dot 550"),
    ("closes after the dot", { if case .message = $0 { SinkAction(.close) } else { nil } }, "ok", "uncertain connection closed at dot"),
    ("hangs after the dot", { if case .message = $0 { SinkAction(.hang) } else { nil } }, "ok", "uncertain timed out at dot"),
    (
      "garbage after the dot", { if case .message = $0 { SinkAction(.raw("what?\r\n")) } else { nil } }, "ok",
      "uncertain protocol violation at dot: malformed reply: what?"
    ),
  ]

  @Test(arguments: misbehaviours.indices) func peersThatMisbehave(index: Int) async throws {
    let (name, script, opened, outcome) = Self.misbehaviours[index]
    for extensions in [["PIPELINING"], [], ["PIPELINING", "CHUNKING"]] {
      // BDAT has no DATA command to refuse.
      if extensions.contains("CHUNKING"), name.contains("DATA") { continue }
      let result = try await Rig().run(script: script, extensions: extensions)
      #expect(result.opened == opened, "\(name)")
      // In a pipeline a reset may overtake the replies before it: the stage is the peer's luck.
      let spelt = result.outcomes.map(Self.spell).joined()
      #expect(outcome.hasSuffix(" ") ? spelt.hasPrefix(outcome) : spelt == outcome, "\(name): \(spelt)")
      #expect(result.took.isEmpty)
    }
  }

  /// A reply of a gigabyte is dropped at its first kilobytes; one that trickles ends by the clock, not by its last octet.
  @Test func repliesWithoutEnd() async throws {
    let flood = try await HostileServer.start(.flood(1 << 30))
    let trickle = try await HostileServer.start(.trickle(50))
    for (port, text) in [(flood.port, "protocol violation at greeting: the reply is too long"), (trickle.port, "timed out at greeting")] {
      let began = ContinuousClock.now
      #expect(try await Rig().knock(at: port) == text)
      #expect(ContinuousClock.now - began < .seconds(5))
    }
    // What the kernels' buffers hold.
    #expect(flood.octetsTaken < 64 << 20)
    await flood.stop()
    await trickle.stop()
  }

  static func spell(_ result: SMTPTransactionResult) -> String {
    switch result {
    case .replied(let stage, let reply): "\(stage.rawValue) \(reply.code)"
    case .lost(let fault): "lost \(fault)"
    case .uncertain(let fault): "uncertain \(fault)"
    case .unsupported(let what): "unsupported \(what)"
    }
  }

  /// A refusal in the middle of a pipeline leaves the session good for the next message.
  @Test func refusalsKeepTheSession() async throws {
    let result = try await Rig().run(script: { if case .rcpt = $0 { .reply("550 5.1.1 no") } else { nil } }, messages: 3)
    #expect(result.outcomes.map(Self.spell) == ["rcpt 550", "rcpt 550", "rcpt 550"])
    #expect(result.dotsPrepared == 0)
  }

  @Test func nothingIsSentWhenTheJournalFails() async throws {
    let result = try await Rig().run(dotFails: true)
    #expect(result.took.isEmpty && result.outcomes.count == 1)
    if case .lost = result.outcomes[0] {} else { #expect(Bool(false)) }
  }

  @Test func whatThePeerLacksIsSaidBeforeMAIL() async throws {
    #expect(try await Rig().run(extensions: ["SIZE 10"]).outcomes.map(Self.spell) == ["unsupported SIZE 10"])
    #expect(try await Rig().run(extensions: [], recipient: "ü@b.example").outcomes.map(Self.spell) == ["unsupported SMTPUTF8"])
    #expect(try await Rig().run(extensions: ["SMTPUTF8"], recipient: "ü@b.example").took.map(\.recipients) == [["ü@b.example"]])
  }

  @Test func anAddressThatTheHostLacks() async throws {
    #expect(try await Rig().run(source: "192.0.2.77").opened == "connect: source address 192.0.2.77 is not on this host")
  }

  @Test func largeMessagesArriveWhole() async throws {
    let body = (0..<60_000).map { "line \($0)" }.joined(separator: "\r\n")
    // Dots at line starts travel both ways.
    let octets = Array("Subject: x\r\n\r\n.\r\n..\r\n\(body)\r\n".utf8)
    for extensions in [[], ["CHUNKING"], ["PIPELINING", "CHUNKING"]] {
      let result = try await Rig().run(extensions: extensions, messages: 2, octets: octets)
      #expect(result.took.count == 2 && result.took.allSatisfy { $0.octets == octets })
      #expect(result.dotsPrepared == 2)
    }
  }

  /// A server that offers CHUNKING and does not know BDAT takes nothing; what it said is no verdict on the message.
  @Test func chunkingThatWasALie() async throws {
    let sent = Locked<[String]>([])
    let listener = try await LineServer.start { line in
      sent.change { $0.append(line) }
      if line.hasPrefix("EHLO") { return "250-liar\r\n250 CHUNKING\r\n" }
      return line.hasPrefix("MAIL") || line.hasPrefix("RCPT") ? "250 ok\r\n" : "502 5.5.1 what is \(line.prefix(4))?\r\n"
    }
    let outcome = try await Rig().talk(to: listener.port)
    #expect(Self.spell(outcome.result).hasPrefix("lost protocol violation at data: BDAT was offered and refused: 502"))
    #expect(outcome.isBroken && !outcome.isUsable)
    await listener.stop()
  }

  @Test func DSNParametersWhereOffered() {
    var envelope = SMTPEnvelope(
      returnPath: "bounce+abc@h.example", recipient: "u+x=y@b.example", isInternationalised: false, isEightBit: false)
    envelope.envelopeID = "bounce+abc"
    var capabilities = SMTPCapabilities()
    #expect(envelope.mailCommand(capabilities, size: 9) == "MAIL FROM:<bounce+abc@h.example>\r\n")
    #expect(envelope.rcptCommand(capabilities) == "RCPT TO:<u+x=y@b.example>\r\n")
    capabilities.dsn = true
    capabilities.size = 0
    #expect(envelope.mailCommand(capabilities, size: 9) == "MAIL FROM:<bounce+abc@h.example> SIZE=9 RET=HDRS ENVID=bounce+2Babc\r\n")
    #expect(envelope.rcptCommand(capabilities) == "RCPT TO:<u+x=y@b.example> ORCPT=rfc822;u+2Bx+3Dy@b.example\r\n")
  }

  @Test func TLSWhenOfferedAndNeverPlainWhenRequired() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let made = try run(
      "/usr/bin/openssl",
      [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.b.example", "-keyout", scratch.file("k"), "-out",
        scratch.file("c"),
      ])
    #expect(made.code == 0)
    let server = try TLSContext.server(certificateFile: scratch.file("c"), keyFile: scratch.file("k"))
    let secured = try await Rig().run(tls: server, messages: 2)
    #expect(secured.tls == "TLSv1.3")
    #expect(secured.took.map(\.isTLS) == [true, true])
    #expect(try await Rig().run(demand: .require).opened == "starttls: TLS is required and mx.b.example does not offer STARTTLS")
    #expect(try await Rig().run(tls: server, demand: .require).took.map(\.isTLS) == [true])
    #expect(try await Rig().run(tls: server, demand: .never).took.map(\.isTLS) == [false])
  }
}
