import DeliveryPolicy
import MailModel

/// An IPv4 source reaches no IPv6 host, and the other way round.
enum AddressFamily: Hashable, Sendable, CaseIterable {
  case ipv4, ipv6

  init(of address: String) { self = IPAddress.isIPv6(address) ? .ipv6 : .ipv4 }
}

extension Route {
  /// The family of all hosts' addresses; nil when they are of both.
  var onlyFamily: AddressFamily? {
    var families = Set<AddressFamily>()
    for host in hosts { families.formUnion(host.addresses.map(AddressFamily.init(of:))) }
    return families.count == 1 ? families.first : nil
  }
}
