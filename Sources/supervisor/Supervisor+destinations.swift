import DNS
import MTAConfig
import MailModel

extension Installation {
  /// Who is asked where mail goes: the sandbox's sink, or DNS. Addresses of our own are refused, as they are now.
  static func destinationLookup(
    _ config: ConfigInForce, _ sandbox: Sandbox?, _ resolver: DNSResolver?
  ) -> @Sendable (String) async -> MailHosts {
    if let sandbox { return { sandbox.hosts(of: $0) } }
    guard let resolver else {
      return { _ in MailHosts(status: .unknown("no resolver"), mxNames: [], ttl: 60) }
    }
    let lookup = MXLookup(resolver: resolver) { address in
      if config.smtp.allowLoopbackMX { return true }
      let canonical = IPAddress.canonical(address) ?? address
      return !IPAddress.isLoopback(address) && !config.sourceIPs.contains { $0.address == canonical || $0.publicAddress == canonical }
    }
    return { await lookup.hosts(of: $0) }
  }
}
