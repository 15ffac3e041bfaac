import Glibc
import MailModel
import NIOCore
import NIOPosix
import SMTPServer
import TLS
import TestSupport
import Testing

@testable import SMTPClient

/// Several addresses of one host: which is called, when, and which wins.
@Suite struct DialerTests {
  /// A socket whose queue is full: it neither takes nor refuses a connection.
  final class SilentAddress {
    private var descriptors: [Int32] = []

    init(_ address: String, port: Int) {
      var name = sockaddr_in()
      name.sin_family = sa_family_t(AF_INET)
      name.sin_port = in_port_t(port).bigEndian
      inet_pton(AF_INET, address, &name.sin_addr)
      func with(_ body: (UnsafePointer<sockaddr>) -> Int32) -> Int32 {
        withUnsafePointer(to: &name) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) } }
      }
      let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      descriptors.append(listener)
      precondition(with { bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } == 0)
      listen(listener, 0)
      for _ in 0..<4 {
        let filler = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        descriptors.append(filler)
        _ = with { connect(filler, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
    }

    deinit { for descriptor in descriptors { close(descriptor) } }
  }

  actor Rig {
    nonisolated let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }

    /// - Returns: the address that was spoken to, or the stage and text of the failure with its address; and the time it took.
    func open(_ addresses: [String], port: Int, connectTimeout: TimeAmount = .seconds(20), from source: String = "127.0.0.31") async throws
      -> (what: String, took: TimeAmount)
    {
      let targets = addresses.map { address in
        var timeouts = SMTPTimeouts()
        timeouts.connect = connectTimeout
        return SMTPTarget(
          hostName: "mx.b.example", address: address, port: port, sourceIP: source, ehloName: "me.example", tls: .opportunistic,
          timeouts: timeouts)
      }
      let start = NIODeadline.now()
      let opening = await SMTPConnection.open(targets, tls: try TLSContext.client(), on: eventLoop)
      let took = NIODeadline.now() - start
      switch opening.result {
      case .success(let connection):
        connection.quit()
        return (connection.target.address, took)
      case .failure(let failure): return ("\(opening.target.address) \(failure.stage.rawValue)", took)
      }
    }
  }

  func sink(_ address: String, connects: Locked<Int>, greeting: String? = nil) async throws -> SMTPSink {
    try await SMTPSink.start(
      host: address, port: 0, group: MultiThreadedEventLoopGroup.singleton, options: SMTPSink.Options(),
      script: { moment in
        guard case .connect = moment else { return nil }
        connects.change { $0 += 1 }
        return greeting.map { .reply($0) }
      }, take: { _ in })
  }

  @Test func aSilentAddressCostsAMoment() async throws {
    let connects = Locked(0)
    let sink = try await sink("127.0.0.42", connects: connects)
    let silent = SilentAddress("127.0.0.41", port: sink.port)
    let (what, took) = try await Rig().open(["127.0.0.41", "127.0.0.42"], port: sink.port)
    #expect(what == "127.0.0.42")
    #expect(took >= Dialer.stagger && took < .seconds(10))
    withExtendedLifetime(silent) {}
    await sink.stop()
  }

  @Test func aRefusingAddressCostsNothing() async throws {
    let connects = Locked(0)
    let sink = try await sink("127.0.0.44", connects: connects)
    let (what, took) = try await Rig().open(["127.0.0.43", "127.0.0.44"], port: sink.port)
    #expect(what == "127.0.0.44" && took < Dialer.stagger)
    await sink.stop()
  }

  @Test func aHealthyHostSeesOneConnection() async throws {
    let connects = Locked(0)
    let sink = try await sink("0.0.0.0", connects: connects)
    let (what, _) = try await Rig().open(["127.0.0.45", "127.0.0.46", "127.0.0.47"], port: sink.port)
    #expect(what == "127.0.0.45" && connects.value == 1)
    await sink.stop()
  }

  @Test func whatTheOneThatAnsweredSaysIsToldOfIt() async throws {
    let connects = Locked(0)
    let sink = try await sink("127.0.0.49", connects: connects, greeting: "554 no")
    #expect(try await Rig().open(["127.0.0.48", "127.0.0.49"], port: sink.port).what == "127.0.0.49 greeting")
    await sink.stop()
  }

  @Test func nobodyAnswers() async throws {
    let port = try freePort()
    #expect(try await Rig().open(["127.0.0.48", "127.0.0.49"], port: port).what == "127.0.0.49 connect")
    let silent = [SilentAddress("127.0.0.51", port: port), SilentAddress("127.0.0.52", port: port)]
    let (what, took) = try await Rig().open(["127.0.0.51", "127.0.0.52"], port: port, connectTimeout: .milliseconds(300))
    #expect(what == "127.0.0.52 connect" && took < .seconds(5))
    withExtendedLifetime(silent) {}
  }

  /// The kernel chooses another address than the one asked for: nothing is said on that connection.
  @Test(arguments: [("127.0.0.53", "0.0.0.0"), ("::1", "::")])
  func aConnectionFromAnotherAddressIsNeverUsed(host: String, source: String) async throws {
    let greeted = Locked(0)
    let sink = try await SMTPSink.start(
      host: host, port: 0, group: MultiThreadedEventLoopGroup.singleton, options: SMTPSink.Options(),
      script: { moment in
        if case .ehlo = moment { greeted.change { $0 += 1 } }
        return nil
      }, take: { _ in })
    #expect(try await Rig().open([host], port: sink.port, from: source).what == "\(host) connect")
    let own = host.contains(":") ? host : "127.0.0.31"
    #expect(try await Rig().open([host], port: sink.port, from: own).what == host)
    #expect(greeted.value == 1)
    await sink.stop()
  }
}
