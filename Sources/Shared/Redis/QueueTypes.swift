package import MailModel

/// A message on its way into the queue.
package struct AcceptItem: Sendable {
  package var number: MessageNumber
  package var record: MessageRecord
  package var identity: String
  package var group: Group
  package var score: Milliseconds
  /// When it may first leave; nil = at once.
  package var due: Milliseconds?
  /// Held from the start under this reason.
  package var heldFor: String?
  /// Ended from the start with this outcome.
  package var outcome: [UInt8]?
  package var contentHash: String
  package var receiptUntil: Milliseconds
  /// ``EmailAddress/normalised``.
  package var address: String
  /// What its recipient may have unsubscribed from.
  package var list: String?

  package init(
    number: MessageNumber, record: MessageRecord, identity: String, group: Group, score: Milliseconds,
    due: Milliseconds?, contentHash: String, receiptUntil: Milliseconds, address: String
  ) {
    self.number = number
    self.record = record
    self.identity = identity
    self.group = group
    self.score = score
    self.due = due
    self.contentHash = contentHash
    self.receiptUntil = receiptUntil
    self.address = address
  }
}

/// What accept answers for one message.
package enum AcceptStatus: String, Sendable {
  case accepted = "ok"
  case duplicate = "dup"
  /// The content was said to be known and is not: send its octets.
  case needsContent = "need"
  case queueFull = "full"
  /// The deadline had passed: nothing was done, then or before.
  case late
}

package struct AcceptAnswer: Sendable, Equatable {
  package var status: AcceptStatus
  package var number: MessageNumber
  package var acceptedAt: Milliseconds
  package var messageID: String
}

/// The state of one part's queue after a Function touched it. Count 0 = empty.
package struct QueueHead: Sendable, Equatable {
  package var part: GroupPart
  package var count: Int
  package var score: Milliseconds
  /// Newer answers have higher numbers; 0 = from the directory, older than any answer.
  package var sequence: Int64

  package init(part: GroupPart, count: Int, score: Milliseconds, sequence: Int64) {
    self.part = part
    self.count = count
    self.score = score
    self.sequence = sequence
  }
}

/// A limit that hosts share, charged when a message is dispatched.
package struct SharedCounter: Sendable, Equatable {
  package var key: String
  package var limit: Int
  package var secondsToLive: Int

  package init(key: String, limit: Int, secondsToLive: Int) {
    self.key = key
    self.limit = limit
    self.secondsToLive = secondsToLive
  }
}

/// One pick of dispatch: up to `count` messages of a part onto an IP's stream.
package struct Pick: Sendable {
  package var part: GroupPart
  package var count: Int
  package var sourceIP: String
  package var lane: String
  package var route: [UInt8]
  /// Earliest MAIL FROM of the first, and the spacing of those after it, ms.
  package var firstAt: Milliseconds
  package var step: Double
  package var nextPermitAt: Milliseconds
  package var counters: [SharedCounter]

  package init(
    part: GroupPart, count: Int, sourceIP: String, lane: String, route: [UInt8], firstAt: Milliseconds,
    step: Double, nextPermitAt: Milliseconds, counters: [SharedCounter]
  ) {
    self.part = part
    self.count = count
    self.sourceIP = sourceIP
    self.lane = lane
    self.route = route
    self.firstAt = firstAt
    self.step = step
    self.nextPermitAt = nextPermitAt
    self.counters = counters
  }
}

package struct PickAnswer: Sendable, Equatable {
  package var numbers: [MessageNumber]
  /// Index of the counter that allowed less than was asked, nil when none did.
  package var stoppedBy: Int?

  package init(numbers: [MessageNumber], stoppedBy: Int?) {
    self.numbers = numbers
    self.stoppedBy = stoppedBy
  }
}

/// One entry of an IP's stream.
package struct WorkEntry: Sendable, Equatable {
  package var entryID: String
  package var number: MessageNumber
  package var serial: Int
  package var crashMarks: Int
  package var lane: String
  package var earliest: Milliseconds
  /// Spacing of the lane's permits, ms; 0 in an entry of an older version.
  package var step: Double
  package var contentHash: String
  package var record: [UInt8]
  package var route: [UInt8]
  /// Compressed content when it travels with the entry; else it is fetched by hash.
  package var content: [UInt8]?
}

/// An attempt's result on its way to the reducer.
package struct Settlement: Sendable {
  package var entryID: String
  package var number: MessageNumber
  package var serial: Int
  package var outcome: [UInt8]

  package init(entryID: String, number: MessageNumber, serial: Int, outcome: [UInt8]) {
    self.entryID = entryID
    self.number = number
    self.serial = serial
    self.outcome = outcome
  }
}

/// One outcome as the reducer reads it.
package struct StoredOutcome: Sendable {
  package var source: OutcomeSource
  package var number: MessageNumber
  package var serial: Int
  package var outcome: [UInt8]
  /// ``MessageRecord``, encoded.
  package var record: [UInt8]
  package var deferrals: Int
  package var crashMarks: Int
  /// Nil when the row does not say.
  package var group: Group?
}

/// Who wrote an outcome, and where it lies.
package struct OutcomeSource: Sendable, Hashable {
  /// Of the outcome in its stream.
  package var id: String
  /// Whose worker says it; empty = the host itself.
  package var ip: String
  /// The entry of that IP's stream that it is about.
  package var entryID: String
  /// Up to where that worker's journal is told with it.
  package var journalPosition: Int64?

  package init(id: String, ip: String = "", entryID: String = "", journalPosition: Int64? = nil) {
    (self.id, self.ip, self.entryID, self.journalPosition) = (id, ip, entryID, journalPosition)
  }
}

/// How far the streams of outcomes are read: by IP, `""` = the host's own.
package struct OutcomePlaces: Sendable {
  private var after: [String: String] = [:]

  package init() {}

  /// From the start of a stream: what was reduced is no longer there.
  package subscript(ip: String) -> String {
    get { after[ip] ?? "0-0" }
    set { after[ip] = newValue }
  }

  /// A place so far ahead that its stream begins anew (`reset_when_ahead` in mta.lua): all are read from the start then.
  package func isAhead(of now: Milliseconds) -> Bool {
    after.contains { Int64($0.value.prefix { $0 != "-" }).map { $0 > now + 3_600_000 } ?? true }
  }
}

/// What becomes of the message after its outcome.
package enum MessageFate: Sendable, Equatable {
  /// Ended: record and content are let go.
  case final
  /// Ended, content kept until then (an uncertain one).
  case keep(until: Milliseconds)
  case retry(at: Milliseconds)
  /// Back to its old place; no attempt counted.
  case queue(addingCrashMarks: Int)
  case hold(reason: String)
  /// To another group: its set of IPs became smaller.
  case move(Group)

  /// The counters that its dispatch was charged to are given back.
  package var isRefunded: Bool {
    switch self {
    case .final, .keep: false
    case .retry, .queue, .hold, .move: true
    }
  }
}

/// One row of what policies remember; a nil text lets it go.
package struct PolicyRow: Sendable, Equatable {
  package var field: String
  package var text: String?

  package init(field: String, text: String?) {
    self.field = field
    self.text = text
  }
}

package struct SuppressionRow: Sendable, Equatable {
  /// An organisation, or `*`.
  package var scope: String
  package var address: String
  /// 0 = for good.
  package var until: Milliseconds
  package var reason: String
  package var since: Milliseconds
  package var source: String

  package init(
    scope: String, address: String, until: Milliseconds, reason: String, since: Milliseconds, source: String
  ) {
    self.scope = scope
    self.address = address
    self.until = until
    self.reason = reason
    self.since = since
    self.source = source
  }

  /// As the Functions read it.
  package var value: String { "\(until) \(reason) \(since) \(source)" }
}

package struct EffectItem: Sendable {
  package var source: OutcomeSource
  package var number: MessageNumber
  package var serial: Int
  package var fate: MessageFate
  /// Events and final record for outbox and history; empty = none.
  package var done: [UInt8]
  package var suppression: SuppressionRow?
  /// It ended in a way that decides nothing for a half-open breaker: its probe may be another's.
  package var refundsProbes = false

  package init(
    source: OutcomeSource, number: MessageNumber, serial: Int, fate: MessageFate, done: [UInt8],
    suppression: SuppressionRow?
  ) {
    self.source = source
    self.number = number
    self.serial = serial
    self.fate = fate
    self.done = done
    self.suppression = suppression
  }
}

/// One message as a list shows it.
package struct QueuedMessage: Sendable {
  package var number: MessageNumber
  package var state: MessageSnapshot.State
  package var part: GroupPart
  package var deferrals: Int
  package var record: MessageRecord
  package var dueAt: Milliseconds?
}

/// What the queue knows of one message.
package struct MessageSnapshot: Sendable {
  package enum State: String, Sendable {
    case queued = "q"
    case dispatched = "d"
    case waiting = "w"
    case held = "h"
    case settled = "s"
    case uncertain = "u"
  }

  package var number: MessageNumber
  package var state: State
  package var serial: Int
  package var deferrals: Int
  package var crashMarks: Int
  package var part: GroupPart
  package var score: Milliseconds
  package var record: MessageRecord
  package var sourceIP: String?
  /// Due time when waiting.
  package var dueAt: Milliseconds?
  /// Reason when held.
  package var heldFor: String?
  /// Messages before it in its own queue, when queued.
  package var position: Int?
}

/// An entry of an IP's stream that its worker has in hand.
package struct HeldEntry: Sendable {
  package var entryID: String
  package var number: MessageNumber
  package var serial: Int

  package init(entryID: String, number: MessageNumber, serial: Int) {
    (self.entryID, self.number, self.serial) = (entryID, number, serial)
  }
}

/// A line of a journal as it is told again.
package struct ReplayedLine: Sendable {
  package var number: MessageNumber
  package var serial: Int
  package var outcome: [UInt8]
  /// The attempt let go of the message before its dot.
  package var letsGo: Bool

  package init(number: MessageNumber, serial: Int, outcome: [UInt8], letsGo: Bool = false) {
    (self.number, self.serial, self.outcome, self.letsGo) = (number, serial, outcome, letsGo)
  }
}
