import MailModel

/// Pools as they change: mail that waits finds the lanes of IPs that came, and those that left are forgotten.
extension LaneIndex {
  /// - Returns: IPs that are in no pool any more.
  mutating func setPools(_ pools: [String: [String]]) -> Set<String> {
    let before = mirror.allIPs
    for part in mirror.setPools(pools) { shelve(part) }
    let gone = before.subtracting(mirror.allIPs)
    for ip in gone { forget(ip) }
    return gone
  }

  /// Lanes that have entries out stay until these are back; they get no more.
  private mutating func forget(_ ip: String) {
    parked[ip] = nil
    ipGates[ip] = nil
    allowances[ip] = nil
    pacedTurns[ip] = nil
    for set in mirror.closedSets[ip, default: [:]].keys { mirror.setClosedSet(set, of: ip, nil) }
    laneGates = laneGates.filter { $0.key.ip != ip }
    lanes = lanes.filter { $0.key.ip != ip || $0.value.out > 0 }
  }
}
