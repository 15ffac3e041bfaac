import MailModel
import NIOCore
import SMTPClient

/// One message over SMTP: an idle session of its lane if there is one, else hosts and addresses in the route's order. Trouble
/// with a connection goes on to the next; what a server says of this message is final for this attempt.
struct Transmission {
  /// An attempt does not knock at more doors than this.
  static let maxAddresses = 8
  /// A session older than this is not kept (upstream's figure, contract section 11.4).
  static let maxAge: TimeAmount = .minutes(5)

  let route: Route
  let lane: WorkLane
  let laneName: String
  let envelope: SMTPEnvelope
  let octets: [UInt8]
  /// The entry's id: by it a drain finds the session to cut.
  let entryID: String

  func run(on worker: isolated WorkLoop, beforeDot: () throws -> Void, afterDot: () -> Void) async -> AttemptResult {
    var lacksJournal = false
    let result = await talk(
      on: worker,
      {
        do { try beforeDot() } catch {
          lacksJournal = true
          throw error
        }
      }, afterDot)
    worker.cuttable[entryID] = nil
    guard worker.isEnding || lacksJournal, result.kind == .connectionFailed else { return result }
    // Cut by the drain, or by a journal that could not be written: it says nothing of the host, and no attempt is counted.
    return AttemptResult(kind: .unbegun, sourceIP: worker.sourceIP, at: worker.now())
  }

  private func talk(on worker: isolated WorkLoop, _ beforeDot: () throws -> Void, _ afterDot: () -> Void) async -> AttemptResult {
    while let connection = lane.takeIdle(hosts: route.hosts, port: route.port, needsTLS: route.tls == .require) {
      worker.cuttable[entryID] = [connection.channel]
      let result = await connection.transact(envelope, message: octets, beforeDot: beforeDot, afterDot: afterDot)
      // A kept session may have died unnoticed, or have had all it may have: that says nothing of the host or the message, a
      // fresh one is tried.
      if case .lost = result { continue }
      if Self.isSpent(result) {
        connection.quit()
        continue
      }
      return finish(result, connection, worker)
    }
    lane.closeIdleBeyondLimit()
    var last = AttemptResult(kind: .connectionFailed, sourceIP: worker.sourceIP, at: worker.now())
    last.text = "no host has an address that \(worker.sourceIP) can reach"
    var left = Self.maxAddresses
    for host in route.hosts {
      // An IPv4 source reaches no IPv6 host, and the other way round.
      var addresses = Array(host.addresses.filter { $0.contains(":") == worker.sourceIP.contains(":") }.prefix(left))
      left -= addresses.count
      while !addresses.isEmpty {
        // One at a time where each session counts.
        let called = route.isShared ? Array(addresses.prefix(1)) : addresses
        let opening = await open(host.name, called, worker)
        switch opening.result {
        case .failure(let failure):
          last = unreachable(failure, opening.target, worker)
          // None of them answered.
          if failure.stage == .connect { addresses.removeAll { called.contains($0) } }
        case .success(let connection):
          let result = await connection.transact(envelope, message: octets, beforeDot: beforeDot, afterDot: afterDot)
          guard case .lost = result else { return finish(result, connection, worker) }
          last = finish(result, connection, worker)
        }
        if worker.isEnding { return last }
        addresses.removeAll { $0 == opening.target.address }
      }
    }
    return last
  }

  /// A session's limit of messages, answered to MAIL: `452 4.5.3`, or 421 that does not speak of policy (RFC 5321 §4.5.3.1.10).
  private static func isSpent(_ result: SMTPTransactionResult) -> Bool {
    guard case .replied(.mail, let reply) = result else { return false }
    return reply.code == 421 && reply.enhanced.map { $0.subject != 7 } ?? true
      || reply.isTransient && reply.enhanced.map { $0.subject == 5 && $0.detail == 3 } ?? false
  }

  /// Opportunistic TLS that breaks is tried once more in the clear (RFC 7435); required TLS never is.
  private func open(_ name: String, _ addresses: [String], _ worker: isolated WorkLoop) async -> SMTPConnection.Opening {
    let targets = addresses.map { worker.target(host: name, address: $0, port: route.port, tls: route.tls) }
    let (entryID, laneName, isShared) = (entryID, laneName, route.isShared)
    let began: @Sendable (any Channel) -> Void = { channel in
      worker.assumeIsolated { worker in
        worker.mayCut(channel, entryID)
        if isShared { worker.noteShared(channel, laneName) }
      }
    }
    if isShared { await worker.roomForShared(laneName, lane) }
    let opening = await SMTPConnection.open(targets, tls: worker.tls, on: worker.eventLoop, began: began)
    guard case .failure(let failure) = opening.result, failure.isTLS, route.tls == .opportunistic, !worker.isEnding else { return opening }
    var target = opening.target
    target.tls = .never
    if isShared { await worker.roomForShared(laneName, lane) }
    let again = await SMTPConnection.open([target], tls: worker.tls, on: worker.eventLoop, began: began)
    // It takes no second call: that says nothing of the host's other addresses.
    if case .failure(let failure) = again.result, failure.stage == .connect { return opening }
    return again
  }

  private func unreachable(
    _ failure: SMTPOpenFailure, _ target: SMTPTarget, _ worker: isolated WorkLoop
  ) -> AttemptResult {
    var result = AttemptResult(kind: .connectionFailed, sourceIP: worker.sourceIP, at: worker.now())
    result.stage = failure.stage
    result.reply = failure.reply
    result.host = target.hostName
    result.address = target.address
    result.text = failure.text
    if case .sourceUnavailable = failure.fault {
      worker.sourceVanished(failure.text)
      result.kind = .unbegun
    }
    return result
  }

  private func finish(_ outcome: SMTPTransactionResult, _ connection: SMTPConnection, _ worker: isolated WorkLoop)
    -> AttemptResult
  {
    if connection.hasBrokenChunking { worker.hostsWithoutChunking.insert(connection.target.hostName) }
    let kind: AttemptResult.Kind =
      switch outcome {
      case .replied: .replied
      case .lost: .connectionFailed
      case .uncertain: .uncertain
      case .unsupported: .unsupported
      }
    var result = AttemptResult(kind: kind, sourceIP: worker.sourceIP, at: worker.now())
    result.host = connection.target.hostName
    result.address = connection.target.address
    result.tls = connection.tlsVersion
    switch outcome {
    case .replied(let stage, let reply):
      result.stage = stage
      result.reply = reply
    case .lost(let fault), .uncertain(let fault): result.text = fault.description
    case .unsupported(let lacking): result.text = "\(connection.target.hostName) does not offer \(lacking)"
    }
    if connection.isUsable, connection.transactions < route.maxDeliveriesPerConnection,
      NIODeadline.now() - connection.openedAt < Self.maxAge, !worker.isEnding
    {
      lane.keep(connection)
    } else {
      connection.quit()
    }
    return result
  }
}
