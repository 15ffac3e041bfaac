import DeliveryPolicy
import MailModel
import Redis

/// Which lanes an organisation's mail waits in. One that can take it is enough: a lane that shuts while mail waits in it passes
/// it on to the next IP of the set, and only what no IP can take now waits in the lanes of all of them. So there are as many
/// lanes as are used, not one for each IP and domain.
///
/// What holds between two calls, for each organisation's mail of a set under a lane key: it waits in a lane that is to be looked
/// at, and is not spread (``Lane/takeUnspread()``) there; or it waits in the lanes of all the set's IPs
/// (``QueueMirror/noteSpread(of:set:key:)``), each of which some gate's end wakes.
extension LaneIndex {
  mutating func shelve(_ part: GroupPart) {
    guard let (key, provider) = mirror.shelve(part) else { return }
    let set = mirror.set(reaching: part.group)
    spread(part.organisation, set: set, key: key, provider, but: nil)
    guard !scarceIPs.isEmpty else { return }
    // Where little may be sent, every organisation with mail takes part from the start.
    for ip in mirror.ips(of: set) where scarceIPs.contains(ip) && mirror.closedSets[ip]?[set] == nil {
      guard allowances[ip]?.welcome(part.organisation) == true else { continue }
      _ = enter(part.organisation, LaneID(ip: ip, key: key), provider)
    }
  }

  /// An IP that may send little in all has its organisations' turns before it has its lanes'.
  mutating func noteAllowance(of ip: String) {
    let isScarce = allowances[ip]?.isScarce == true
    if isScarce != scarceIPs.contains(ip) { if isScarce { scarceIPs.insert(ip) } else { scarceIPs.remove(ip) } }
  }

  /// Mail that waits in a lane that is shut waits in another as well.
  mutating func passOn(_ organisation: String, at id: LaneID) {
    for set in mirror.unspreadSets(of: organisation, at: id) {
      spread(organisation, set: set, key: id.key, provider(of: id), but: id.ip)
    }
  }

  /// Mail in a lane that its IP may not send now waits there for its time, and elsewhere.
  mutating func setAside(_ organisation: String, at id: LaneID) {
    guard !mirror.closedSets.isEmpty, let closed = mirror.closedSets[id.ip] else { return }
    for (set, isSpread) in mirror.waiting(organisation, of: closed.keys, key: id.key) {
      let turn = PacedTurn(lane: id, organisation: organisation, set: set)
      guard pacedTurns[id.ip, default: []].insert(turn).inserted, !isSpread else { continue }
      spread(organisation, set: set, key: id.key, provider(of: id), but: id.ip)
    }
  }

  private func provider(of id: LaneID) -> MailboxProvider { lanes[id]?.provider ?? MailboxProvider(rawValue: id.key) ?? .other }

  private mutating func spread(_ organisation: String, set: String, key: String, _ provider: MailboxProvider, but shut: String?) {
    // Another IP first each time: whoever is asked first takes the mail of a quiet queue.
    rotation &+= 1
    let ips = mirror.ips(of: set)
    var place = ips.isEmpty ? 0 : Int(rotation % UInt(ips.count))
    for _ in ips.indices {
      let ip = ips[place]
      place = place + 1 == ips.count ? 0 : place + 1
      guard ip != shut else { continue }
      let id = LaneID(ip: ip, key: key)
      if !mirror.closedSets.isEmpty, mirror.closedSets[ip]?[set] != nil {
        pacedTurns[ip, default: []].insert(PacedTurn(lane: id, organisation: organisation, set: set))
      } else if enter(organisation, id, provider) {
        return
      }
    }
    mirror.noteSpread(of: organisation, set: set, key: key)
  }

  /// A turn that waited beside a gate; its lane may have been forgotten meanwhile.
  mutating func enter(_ organisation: String, _ id: LaneID) {
    if !enter(organisation, id, MailboxProvider(rawValue: id.key) ?? .other) { passOn(organisation, at: id) }
  }

  /// - Returns: whether the lane is to be looked at; else it waits for a gate.
  private mutating func enter(_ organisation: String, _ id: LaneID, _ provider: MailboxProvider) -> Bool {
    if !allowances.isEmpty, let nominee = allowances[id.ip]?.nominee(of: id) {
      let isOpen = allowances[id.ip]?.shutGate == nil
      if nominee != organisation { lane(id, provider).enter(organisation, isSpread: !isOpen) }
      // It waits behind another that the lane has nominated: a lane where others wait comes first.
      allowances[id.ip]?.nominate(nominee, by: id, isAlone: nominee == organisation ? nil : false)
      return isOpen
    }
    switch lane(id, provider).enterAndWake(organisation) {
    case .wasReady: return true
    case .waits: return false
    case .woke:
      ready.append(id)
      return true
    }
  }

  private mutating func lane(_ id: LaneID, _ provider: MailboxProvider) -> Lane {
    if let lane = lanes[id] { return lane }
    let lane = newLane(id, provider)
    if !storedPermits.isEmpty { storedPermits[id.description] = nil }
    lanes[id] = lane
    return lane
  }

  /// What a lane begins with.
  func newLane(_ id: LaneID, _ provider: MailboxProvider) -> Lane {
    let profile = providers[provider]
    let nextPermitAt = storedPermits.isEmpty ? nil : storedPermits[id.description]
    let lane = Lane(provider: provider, profile: profile, rate: rates[id], nextPermitAt: nextPermitAt ?? 0)
    if profile.maxConnectionsTotal > 0 { lane.sessions = sessions.granted(id) }
    return lane
  }

  // MARK: forgetting

  /// A lane that may have nothing to do: once there are many, it is forgotten.
  mutating func noteRest(_ id: LaneID) {
    guard lanes[id]?.noteRest() == true else { return }
    resting.append(id)
  }

  /// A few lanes at a time, so that no call takes long.
  mutating func forgetLanes(now: Milliseconds) {
    var looks = 0
    while lanes.count > lanesKept, looks < 256, let id = resting.popFirst() {
      looks += 1
      guard let lane = lanes[id] else { continue }
      lane.isResting = false
      guard !lane.isBusy, allowances[id.ip]?.nominee(of: id) == nil else { continue }
      guard lane.remembersUntil <= now else {
        noteRest(id)
        continue
      }
      lanes[id] = nil
      // What was learnt is forgotten too where it is what a new lane starts with.
      if let rate = rates[id], rate.blockedUntil <= now, rate.ratePerMinute == providers[lane.provider].defaultRate { rates[id] = nil }
    }
  }
}
