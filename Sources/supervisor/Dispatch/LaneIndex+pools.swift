import MailModel

/// Pools as they change: mail that waits finds the lanes of IPs that came, and those that left are forgotten.
extension LaneIndex {
  /// - Returns: IPs that are in no pool any more.
  mutating func setPools(_ pools: [String: [String]]) -> Set<String> {
    let before = mirror.allIPs
    let moved = mirror.setPools(pools)
    let gone = before.subtracting(mirror.allIPs)
    for ip in gone { forget(ip) }
    for part in moved { shelve(part) }
    return gone
  }

  /// Lanes that have entries out stay until these are back; they get no more.
  private mutating func forget(_ ip: String) {
    parked[ip] = nil
    ipGates[ip] = nil
    dismiss(allowances.removeValue(forKey: ip))
    scarceIPs.remove(ip)
    pacedTurns[ip] = nil
    for set in mirror.closedSets[ip, default: [:]].keys { mirror.setClosedSet(set, of: ip, nil) }
    laneGates = laneGates.filter { $0.key.ip != ip }
    lanes.removeAll { id, lane in id.ip == ip && lane.out == 0 }
    // Those that stay are to be found when the IP comes back.
    for (id, lane) in lanes where id.ip == ip && lane.hasTurns { wake(id) }
  }
}
