/// Where a message goes, decided by the supervisor: hosts in the order to try, with their addresses. The worker looks
/// nothing up.
package struct Route: Sendable, Equatable {
  package struct Host: Sendable, Equatable {
    package var name: String
    package var addresses: [String]

    package init(name: String, addresses: [String]) {
      self.name = name
      self.addresses = addresses
    }
  }

  package enum TLSDemand: Int, Sendable {
    /// STARTTLS when offered; plain when it is not or breaks.
    case opportunistic = 0
    /// Never plain; the certificate is not checked.
    case require = 1
    /// Plain: what opportunistic falls back to for one session after a broken STARTTLS. Never in a route.
    case never = 2
  }

  package var hosts: [Host]
  package var port: Int
  package var tls: TLSDemand
  package var maxConnections: Int
  package var maxDeliveriesPerConnection: Int
  /// Time after which this route is stale.
  package var validUntil: Milliseconds
  /// `maxConnections` is a part of a limit that other IPs share: no session outlives the last message that came for it.
  package var isShared = false

  package init(
    hosts: [Host], port: Int, tls: TLSDemand, maxConnections: Int, maxDeliveriesPerConnection: Int,
    validUntil: Milliseconds
  ) {
    self.hosts = hosts
    self.port = port
    self.tls = tls
    self.maxConnections = maxConnections
    self.maxDeliveriesPerConnection = maxDeliveriesPerConnection
    self.validUntil = validUntil
  }

  private enum Tag {
    static let host: UInt8 = 1
    static let address: UInt8 = 2
    static let port: UInt8 = 3
    static let tls: UInt8 = 4
    static let maxConnections: UInt8 = 5
    static let maxDeliveries: UInt8 = 6
    static let validUntil: UInt8 = 7
    static let isShared: UInt8 = 8
  }

  package func encoded() -> [UInt8] {
    var writer = RecordWriter(capacity: 128)
    for host in hosts {
      writer.put(Tag.host, host.name)
      for address in host.addresses { writer.put(Tag.address, address) }
    }
    writer.put(Tag.port, port)
    writer.put(Tag.tls, tls.rawValue)
    writer.put(Tag.maxConnections, maxConnections)
    writer.put(Tag.maxDeliveries, maxDeliveriesPerConnection)
    writer.put(Tag.validUntil, validUntil)
    if isShared { writer.put(Tag.isShared, 1) }
    return writer.bytes
  }

  /// This route for a lane that has so many sessions of a limit that all IPs share; encoded.
  package func sharing(_ sessions: Int) -> [UInt8] {
    var route = self
    route.maxConnections = max(1, min(maxConnections, sessions))
    route.isShared = true
    return route.encoded()
  }

  package init(decoding bytes: [UInt8]) throws(RecordError) {
    self.init(hosts: [], port: 25, tls: .opportunistic, maxConnections: 1, maxDeliveriesPerConnection: 100, validUntil: 0)
    var reader = RecordReader(bytes)
    while let field = try reader.next() {
      switch field.tag {
      case Tag.host: hosts.append(Host(name: field.string, addresses: []))
      case Tag.address: if !hosts.isEmpty { hosts[hosts.count - 1].addresses.append(field.string) }
      case Tag.port: port = field.int
      case Tag.tls: tls = TLSDemand(rawValue: field.int) ?? .require
      case Tag.maxConnections: maxConnections = max(1, field.int)
      case Tag.maxDeliveries: maxDeliveriesPerConnection = max(1, field.int)
      case Tag.validUntil: validUntil = field.int64
      case Tag.isShared: isShared = field.int == 1
      default: continue
      }
    }
    guard !hosts.isEmpty else { throw .missing(tag: Tag.host) }
  }
}
