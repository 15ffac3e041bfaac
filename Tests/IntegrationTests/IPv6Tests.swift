import Glibc
import SMTPServer
import TestSupport
import Testing

enum IPv6Loopback {
  static var isThere: Bool {
    let descriptor = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var name = sockaddr_in6()
    name.sin6_family = sa_family_t(AF_INET6)
    name.sin6_addr = in6addr_loopback
    return withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) }
    } == 0
  }
}

/// A dedicated IPv6 address, to hosts that have one.
@Suite(.serialized, .enabled(if: IPv6Loopback.isThere, "this host has no IPv6 loopback")) struct IPv6Tests {
  @Test func mailLeavesByIPv6AndReachesIPv6OnlyHosts() async throws {
    let dns = try await NameServer(zones: [
      "test-zone.example": [
        "six IN MX 10 mx6", "mx6 IN AAAA ::1", "both IN MX 10 mxboth", "mxboth IN A 127.0.0.99", "mxboth IN AAAA ::1", "four IN MX 10 mx4",
        "mx4 IN A 127.0.0.1",
      ]
    ])
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["::1"]]
    options.ehlo = { _ in "six.mta.example" }
    options.sinkHost = "::1"
    options.extra = "retry: { delays: [1h], jitter: 0 }\n"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    for domain in ["six", "both", "four"] { try await mta.send(domain, to: "u@\(domain).test-zone.example") }
    try await eventually("two are sent") { Set(mta.receiver.messageIDs("sent")) == ["six", "both"] }
    #expect(Set(mta.log.all.map(\.peer)) == ["::1"] && Set(mta.log.all.map(\.ehloName)) == ["six.mta.example"])
    // A host without IPv6 cannot be reached from there: told as such, and tried again.
    try await eventually("the third is deferred") { mta.receiver.messageIDs("deferred").contains("four") }
    let text = mta.receiver.all.first { $0.event == "deferred" && $0.messageID == "four" }?.fields["message"] ?? ""
    #expect(text.contains("::1 can reach"))
    let reputation = try await mta.get("/ip-reputation/::1")
    #expect(reputation.status == 200 && reputation.body.contains("\"ip\":\"::1\""))
    await mta.tearDown()
  }
}
