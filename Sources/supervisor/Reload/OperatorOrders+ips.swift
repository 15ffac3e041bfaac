import MTAConfig
import MailModel
import Observability

/// IPs that operators added and removed, laid over the configuration file.
extension OperatorOrders {
  /// What `ip add` and `POST /v1/ips` say.
  struct NewIP: Sendable {
    var address: String
    var pool: String
    var ehlo: String?
    var `public`: String?
    var warmed: Bool?
  }

  /// The configuration with these orders over it.
  /// - Returns: also what does not fit any more, one row each; such orders are left out.
  func over(_ file: MTAConfig) -> (config: MTAConfig, problems: [ConfigProblem]) {
    var config = file
    var problems: [ConfigProblem] = []
    config.sourceIPs.removeAll { removed[$0.address] != nil }
    for index in config.pools.indices { config.pools[index].ips.removeAll { removed[$0] != nil } }
    for (address, order) in added.sorted(by: { $0.key < $1.key }) {
      var isIn = false
      for pool in order.pools {
        guard let index = config.pools.firstIndex(where: { $0.name == pool }) else {
          problems.append(
            ConfigProblem(
              key: "pools.\(pool)", line: nil,
              text: "is no pool any more, and \(address) was added to it: put it back, or order `ip remove \(address)` first"))
          continue
        }
        isIn = true
        if !config.pools[index].ips.contains(address) { config.pools[index].ips.append(address) }
      }
      // The file's settings stand over those of the order.
      guard isIn, !config.sourceIPs.contains(where: { $0.address == address }) else { continue }
      config.sourceIPs.append(
        MTAConfig.SourceIP(address: address, publicAddress: order.public, ehloName: order.ehlo, isWarmed: order.warmed))
    }
    if config.sourceIPs.isEmpty { problems.append(ConfigProblem(key: "pools", line: nil, text: "needs one pool with an IP")) }
    return (config, problems)
  }

  /// - Parameter file: what the configuration file says, without orders.
  /// - Throws: 400 naming the field, 409 when it is there already.
  mutating func add(_ new: NewIP, to file: MTAConfig) throws(APIError) -> String {
    guard let address = IPAddress.canonical(new.address) else { throw .bad("address must be an IP address") }
    if let objection = IPAddress.objectionAsSource(address) { throw .bad("address \(objection)") }
    guard file.pools.contains(where: { $0.name == new.pool }) else {
      throw .bad("pool must be one of: " + file.pools.map(\.name).joined(separator: ", "))
    }
    let ehlo = new.ehlo?.lowercased()
    if let ehlo, !DomainName.isHostName(ehlo) { throw .bad("ehlo must be a host name") }
    let shown = new.public.map { IPAddress.canonical($0) }
    if let shown, shown == nil { throw .bad("public must be an IP address") }
    let now = over(file).config
    let pools = now.pools(of: address)
    guard !pools.contains(new.pool) else { throw APIError(status: 409, text: "\(address) is in pool \(new.pool) already") }
    removed[address] = nil
    if let known = (now.sourceIPs + file.sourceIPs).first(where: { $0.address == address }) {
      if let ehlo, ehlo != known.ehloName { throw .bad("ehlo must be \(known.ehloName), as it is known already") }
      if let shown, shown != known.publicAddress { throw .bad("public must be \(known.publicAddress), as it is known already") }
      if let warmed = new.warmed, warmed != known.isWarmed { throw .bad("warmed must be \(known.isWarmed), as it is known already") }
      var order =
        added[address] ?? Added(pools: [], ehlo: known.ehloName, public: known.publicAddress, warmed: known.isWarmed)
      order.pools.append(new.pool)
      added[address] = order
      // An address of the file that was taken out comes back as the file has it.
      let written = file.pools(of: address)
      if pools.isEmpty, !written.isEmpty {
        guard written.contains(new.pool) else {
          throw .bad("pool must be \(written.joined(separator: " or ")), as in the configuration file: change it there")
        }
        added[address] = nil
      }
    } else {
      added[address] = Added(
        pools: [new.pool], ehlo: ehlo ?? file.hostname, public: (shown ?? nil) ?? address, warmed: new.warmed ?? false)
    }
    return address
  }

  /// - Throws: 404 when it is not of this installation, 409 when it is the last.
  mutating func remove(_ text: String, from file: MTAConfig) throws(APIError) -> String {
    let address = IPAddress.canonical(text) ?? text
    let now = over(file).config
    guard now.sourceIPs.contains(where: { $0.address == address }) else {
      throw APIError(status: 404, text: "\(text) is not an address of this installation")
    }
    guard now.sourceIPs.count > 1 else { throw APIError(status: 409, text: "\(address) is the last IP: add another first") }
    added[address] = nil
    pulled[address] = nil
    if file.sourceIPs.contains(where: { $0.address == address }) { removed[address] = SystemClock.now() }
    return address
  }
}
