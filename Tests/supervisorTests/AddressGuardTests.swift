import Foundation
import MailModel
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import supervisor

/// URLs that others wrote: where they may lead, and that the connection goes to what was judged.
@Suite struct AddressGuardTests {
  @Test(arguments: [
    "127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.1.1",
    "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::", "2001::1", "2001:db8::1", "fc00::1", "fdff::1", "fe80::1", "fec0::1", "ff02::1",
    "100::1", "3fff::1", "5f00::1", "not-an-address", "1.2.3", "8.8.8.8 ",
  ])
  func theNeighbourhoodIsShut(address: String) { #expect(AddressGuard(own: []).refusal(address) != nil) }

  @Test(arguments: [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2001:200::1",
  ])
  func theInternetIsOpen(address: String) { #expect(AddressGuard(own: ["9.9.9.9"]).refusal(address) == nil) }

  @Test func ownAddressesAreShutAndTrustedOnesOpen() {
    let addresses = AddressGuard(own: ["8.8.4.4", "2606:4700:0::1"], trusted: ["10.0.0.5"])
    #expect(addresses.refusal("8.8.4.4") == "an address of this host")
    #expect(addresses.refusal("::ffff:8.8.4.4") == "an address of this host")
    #expect(addresses.refusal("2606:4700::1") == "an address of this host")
    #expect(addresses.refusal("10.0.0.5") == nil && addresses.refusal("10.0.0.6") == "private")
  }

  /// What the kernel says of its interfaces, all of them; asked at each judgement, since addresses come and go.
  @Test func theHostsAddressesAreItsInterfaces() throws {
    let told = try run("/usr/bin/env", ["ip", "-o", "addr", "show"]).output.split(separator: "\n").compactMap { line in
      line.firstMatch(of: #/ inet6? ([0-9a-f.:]+)/#).flatMap { IPAddress.canonical(String($0.1)) }
    }
    let own = Set(HostAddresses.now().compactMap(IPAddress.canonical))
    #expect(own == Set(told) && own.contains("127.0.0.1"))
    let addresses = Locked(["8.8.4.4"])
    let judge = AddressGuard(own: addresses.value)
    #expect(judge.refusal("8.8.4.4") == "an address of this host" && judge.refusal("8.8.8.8") == nil)
    addresses.change { $0 = ["8.8.8.8"] }
    #expect(judge.refusal("8.8.4.4") == nil && judge.refusal("8.8.8.8") == "an address of this host")
  }

  private func fetch(_ names: [String: [String]], trusted: [String] = [], asked: Locked<Int> = Locked(0)) -> GuardedFetch {
    var fetch = GuardedFetch(
      addresses: AddressGuard(own: [], trusted: trusted), group: MultiThreadedEventLoopGroup.singleton,
      resolve: { name in
        asked.change { $0 += 1 }
        // A name that changes its mind: the second answer is the trap.
        return asked.value == 1 ? names[name] ?? [] : ["127.0.0.1"]
      })
    fetch.schemes = ["http", "https"]
    fetch.ports = nil
    return fetch
  }

  @Test(arguments: [
    ("http://127.0.0.1/", "leads to 127.0.0.1: loopback"), ("http://[::1]/", "leads to ::1"), ("http://[::ffff:7f00:1]/", "loopback"),
    ("http://169.254.169.254/latest", "link-local"), ("http://inside.example/", "leads to 10.0.0.7: private"),
    ("http://mixed.example/", "leads to 192.168.0.1"), ("http://2130706433/", "no address"), ("http://0x7f.1/", "no address"),
    ("http://localhost/", "no address"), ("http://127.1/", "no address"), ("http://nowhere.example/", "no address"),
    ("ftp://good.example/", "scheme ftp"), ("file:///etc/passwd", "not a URL"), ("http://u:p@good.example/", "user or password"),
    ("http://good.example@127.0.0.1/", "user or password"), ("good.example", "not a URL"), ("http://good.example./", "no address"),
  ])
  func whatIsRefused(url: String, why: String) async {
    let fetch = fetch(["inside.example": ["10.0.0.7"], "mixed.example": ["8.8.8.8", "192.168.0.1"], "good.example": ["8.8.8.8"]])
    do {
      let target = try await fetch.judge(url)
      Issue.record("\(url) → \(target)")
    } catch { #expect("\(error)".contains(why), "\(error)") }
  }

  @Test func portsAndSchemesAreFew() async throws {
    var fetch = fetch(["good.example": ["8.8.8.8"]])
    fetch.schemes = ["https"]
    fetch.ports = [443]
    #expect(
      try await fetch.judge("https://good.example/x") == .init(url: "https://good.example/x", host: "good.example", address: "8.8.8.8"))
    await #expect(throws: GuardedFetch.Refusal.port(25)) { try await fetch.judge("https://good.example:25/") }
    await #expect(throws: GuardedFetch.Refusal.scheme("http")) { try await fetch.judge("http://good.example/") }
  }

  /// The connection goes to the address that was judged, with the name that was asked for, whatever the name says next; a
  /// redirect is told and not followed; an answer that is too large is let go.
  @Test func theConnectionIsPinned() async throws {
    let got = Locked<[String]>([])
    let server = try await LineServer.start(host: "127.0.0.61", greeting: "") { line in
      got.change { $0.append(line) }
      guard line.isEmpty else { return "" }
      let request = got.value.last { $0.hasPrefix("GET ") } ?? ""
      if request.contains("/away") { return "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n" }
      let body = request.contains("/large") ? String(repeating: "x", count: 5000) : "hello"
      return "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
    func call(_ path: String, host: String = "hooks.example", max: Int = 1 << 20) async throws -> GuardedFetch.Answer {
      let asked = Locked(0)
      // However it is spelt: the client must not look it up by itself.
      var request = GuardedFetch.Request(url: "http://\(host):\(server.port)\(path)")
      request.maxAnswer = max
      let answer = try await fetch(["hooks.example": ["127.0.0.61"]], trusted: ["127.0.0.61"], asked: asked).call(request)
      #expect(asked.value == 1)
      return answer
    }
    #expect(String(decoding: try await call("/").body, as: UTF8.self) == "hello")
    #expect(got.value.contains { $0.lowercased().hasPrefix("host: hooks.example") })
    #expect(String(decoding: try await call("/", host: "Hooks.EXAMPLE").body, as: UTF8.self) == "hello")
    await #expect(throws: GuardedFetch.Refusal.redirected(302)) { try await call("/away") }
    await #expect(throws: GuardedFetch.Refusal.tooLarge) { try await call("/large", max: 1000) }
    await server.stop()
  }
}
