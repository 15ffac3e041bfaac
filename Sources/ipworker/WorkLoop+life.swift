import ControlProtocol
import Glibc
import Journal
import NIOCore
import Observability
import Redis

/// From its start to its end: source, access, pauses, drains, life signs.
extension WorkLoop {
  /// Binds the address once, so that a missing one is told as such. Nothing listens on it.
  func probeSource() async -> Bool {
    var text = "not an address"
    if let address = try? SocketAddress(ipAddress: sourceIP, port: 0) {
      let descriptor = socket(sourceIP.contains(":") ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(descriptor) }
      guard address.withSockAddr({ bind(descriptor, $0, socklen_t($1)) }) != 0 else { return true }
      text = String(cString: strerror(errno))
    }
    control?.send(.unavailable(reason: "cannot bind \(sourceIP): \(text)"))
    try? await Task.sleep(for: .milliseconds(100))
    return false
  }

  /// Whom to be at Redis. Comes once, right after hello.
  func admit(username: String, password: String) {
    client.use(username: username, password: password)
    reader.use(username: username, password: password)
    admitted.succeed()
  }

  func sourceVanished(_ reason: String) {
    control?.send(.unavailable(reason: reason))
    drain(deadline: .now() + .seconds(5))
  }

  func setPaused(_ paused: Bool) {
    isPaused = paused
    if !paused { pumpAll() }
  }

  func drain(deadline: NIODeadline) {
    drainDeadline = min(deadline, drainDeadline ?? deadline)
    isEnding = true
    for entry in quarantine { giveBack(entry) }
    quarantine = []
    for lane in lanes.values {
      for entry in lane.takeWaiting(where: { _ in true }) { giveBack(entry) }
      lane.closeIdle(olderThan: .zero)
    }
    for channel in cuttable.values.joined() { channel.close(promise: nil) }
    cuttable = [:]
    finishIfDrained()
  }

  func mayCut(_ channel: any Channel, _ entryID: String) {
    guard isEnding else { return cuttable[entryID, default: []].append(channel) }
    channel.eventLoop.execute { channel.close(promise: nil) }
  }

  func end(code: Int32) {
    guard !hasFinished else { return }
    hasFinished = true
    for entry in begun.values {
      try? journal.append(JournalLine(kind: .abandon, number: entry.number, serial: entry.serial, at: now()))
    }
    finished.succeed(code)
    admitted.succeed()
  }

  func finishIfDrained() {
    guard isEnding, counts.transactions == 0, settler.isEmpty else { return }
    end(code: 0)
  }

  func status() -> WorkerStatus {
    var status = counts
    status.queued = lanes.values.reduce(quarantine.count) { $0 + $1.waiting.count }
    status.connections = lanes.values.reduce(0) { $0 + $1.connectionCount }
    status.isPaused = isPaused
    status.isDraining = isEnding
    status.redisRunID = metRunID
    return status
  }

  /// Once a second: a life sign, idle sessions closed, late entries given back, the drain's deadline kept.
  func beat() {
    control?.send(.heartbeat(status()))
    connections.beat()
    let limit = now() - Self.patience
    for (name, lane) in lanes {
      lane.closeIdle(olderThan: Self.idleLimit)
      for entry in lane.takeWaiting(where: { $0.earliest < limit }) { giveBack(entry) }
      if lane.isEmpty { lanes[name] = nil }
    }
    if let drainDeadline, NIODeadline.now() > drainDeadline { end(code: 0) }
    finishIfDrained()
  }
}
