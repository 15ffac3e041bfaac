import Foundation
import Glibc
import SMTPServer
import TestSupport

/// Where in a message's way a part is struck.
enum CrashPlace: Hashable, CustomStringConvertible {
  /// A fail point of the programs; its process waits there for the blow.
  case step(String)
  /// A moment of a session, by the server's side: it has the octets and has not answered.
  case session(Moment)
  /// While Redis writes its append-only file anew.
  case rewrite

  enum Moment: String, CaseIterable { case connect, ehlo, mail, rcpt, data, dot }

  var description: String {
    switch self {
    case .step(let name): name
    case .session(let moment): "session-at-\(moment.rawValue)"
    case .rewrite: "redis-in-rewrite"
    }
  }

  /// What brings the place about, when mail alone does not.
  var prelude: Strike? {
    guard case .step(let name) = self else { return nil }
    if name.contains("recovery") { return .workerKill }
    return name.contains("replay") ? .redisKill : nil
  }

  /// Every step between accept and the event's end, each session's moments, and an AOF rewrite.
  static let all: [CrashPlace] =
    [
      "worker-before-begin", "worker-before-dot", "worker-after-dot-journal", "worker-after-dot", "worker-after-reply",
      "worker-before-settle", "worker-after-settle", "worker-before-replay", "worker-after-replay", "supervisor-before-accept",
      "supervisor-after-accept", "supervisor-before-dispatch", "supervisor-after-dispatch", "supervisor-before-effects",
      "supervisor-after-effects", "supervisor-before-outbox", "supervisor-after-outbox", "supervisor-after-history",
      "supervisor-before-ready", "supervisor-after-ready", "supervisor-before-expire", "supervisor-after-expire",
      "supervisor-before-conclude", "supervisor-after-conclude", "supervisor-before-recovery", "supervisor-in-recovery",
      "supervisor-after-recovery", "supervisor-in-reload",
    ].map(CrashPlace.step) + Moment.allCases.map(CrashPlace.session) + [.rewrite]
}

struct CrashCell: CustomStringConvertible {
  var place: CrashPlace
  var strike: Strike

  var description: String { "\(place) × \(strike.rawValue)" }

  static let all: [CrashCell] = CrashPlace.all.flatMap { place in Strike.allCases.map { CrashCell(place: place, strike: $0) } }
}

extension CrashRig {
  static let domainsPerCell = 5

  /// One cell: mail flows, the place is reached, the part is struck, all comes back.
  /// - Returns: nil when the place was not reached.
  func run(_ cell: CrashCell, number: Int, messages count: Int = 40) async throws -> CrashReport? {
    let first = cells * Self.domainsPerCell
    cells += 1
    var mail = (0..<count).map { index in
      let domain = Zones.domain((first + index % Self.domainsPerCell) % domains)
      return Mail(id: "c\(number)-\(index)", to: "\(index % 8 == 3 ? "grey" : "u")\(number)-\(index)@\(domain)", org: "o\(number)")
    }
    let nobody = Mail(id: "c\(number)-x", to: "u@n\(number).test-zone.example", org: "nobody\(number)")
    mail.insert(nobody, at: count / 2)
    let before = dots.count
    let arm = { try self.arm(cell.place) }
    if cell.place.prelude == nil { try arm() }
    let posting = Task { [mail] in try await self.post(mail, parallel: 8) }
    if let prelude = cell.place.prelude {
      try await eventually("mail flows") { self.dots.count > before + 5 }
      try arm()
      try await recover(prelude, strike(prelude, passing: []))
    }
    if cell.place == .step("supervisor-in-reload") {
      try await eventually("mail flows") { self.dots.count > before + 5 }
      try reload(orgDaily: 1_000_000 + number)
    }
    let struck = try await fall(cell, from: before)
    if let struck { try await recover(cell.strike, struck) }
    disarm()
    try await posting.value
    let ids = mail.map(\.id)
    do {
      try await eventually("all of \(cell) ended", within: .seconds(60)) {
        self.readEvents()
        return ids.allSatisfy(self.hasEnded)
      }
    } catch { print("\(cell): \(error)\n\(mta.describe(ids.first { !hasEnded($0) } ?? ""))") }
    restorePulled()
    return struck == nil ? nil : CrashReport(self, ids, bounces: [nobody.id])
  }

  /// Another limit comes into force, as `systemctl reload` brings it about.
  private func reload(orgDaily: Int) throws {
    let text = try String(contentsOfFile: mta.config, encoding: .utf8)
    try text.replacing(/org_daily: \d+/, with: "org_daily: \(orgDaily)").write(toFile: mta.config, atomically: true, encoding: .utf8)
    kill(mta.pid, SIGHUP)
  }

  private func arm(_ place: CrashPlace) throws {
    if case .step(let name) = place { _ = try mta.scratch.write("fail", "\(name) hold") }
  }

  private func disarm() {
    watcher.change { $0 = nil }
    for name in ["fail", "fail.held"] { unlink(mta.scratch.file(name)) }
  }

  /// Waits for the place and strikes there.
  private func fall(_ cell: CrashCell, from before: Int) async throws -> [Int32]? {
    switch cell.place {
    case .step:
      var passing: Int32?
      let held = mta.scratch.file("fail.held")
      // Within ms, or whoever waits there is missed by others.
      let deadline = ContinuousClock.now + .seconds(20)
      while passing == nil, ContinuousClock.now < deadline {
        passing = mta.heldPID
        if passing == nil { try await Task.sleep(for: .milliseconds(2)) }
      }
      guard let passing else { return nil }
      let pids = strike(cell.strike, passing: [passing])
      unlink(held)
      return pids
    case .session(let wanted):
      let struck = Locked<[Int32]?>(nil)
      let left = Locked(4)
      watcher.change { watcher in
        watcher = { moment in
          guard struck.value == nil, moment.is(wanted) else { return }
          left.change { $0 -= 1 }
          // Not the very first: others are under way then.
          guard left.value <= 0 || wanted == .connect || wanted == .ehlo else { return }
          let pids = self.strike(cell.strike, passing: self.workers)
          struck.change { $0 = pids }
        }
      }
      try? await eventually("the moment comes", within: .seconds(20)) { struck.value != nil }
      return struck.value
    case .rewrite:
      try await eventually("mail flows") { self.dots.count > before + 3 }
      try redis.cli("CONFIG", "SET", "rdb-key-save-delay", "10000")
      try redis.cli("BGREWRITEAOF")
      try? await eventually("it is being written", within: .seconds(10)) {
        try self.redis.cli("INFO", "persistence").contains("aof_rewrite_in_progress:1")
      }
      let pids = strike(cell.strike, passing: [])
      return pids
    }
  }
}

extension SinkMoment {
  fileprivate func `is`(_ wanted: CrashPlace.Moment) -> Bool {
    switch (self, wanted) {
    case (.connect, .connect), (.ehlo, .ehlo), (.mail, .mail), (.rcpt, .rcpt), (.data, .data), (.message, .dot): true
    default: false
    }
  }
}
