/// What the reducer leaves for outbox and history, in one row of `done`: the events of one outcome, and the message's final
/// state when it ended. The ids are derived, so that a row read twice is stored once.
package struct DoneRecord: Sendable, Equatable {
  package struct Event: Sendable, Equatable {
    package var id: String
    package var kind: String
    package var json: String
    /// What endpoints get that do not know the kind: for `uncertain`, upstream's `failed`.
    package var fallbackJSON: String?

    package init(id: String, kind: String, json: String, fallbackJSON: String?) {
      self.id = id
      self.kind = kind
      self.json = json
      self.fallbackJSON = fallbackJSON
    }
  }

  package enum FinalState: String, Sendable {
    case delivered, bounced, failed, expired, uncertain
  }

  package struct Final: Sendable, Equatable {
    package var state: FinalState
    package var reason: String?

    package init(state: FinalState, reason: String?) {
      self.state = state
      self.reason = reason
    }
  }

  package var number: MessageNumber
  package var serial: Int
  package var at: Milliseconds
  package var events: [Event] = []
  package var final: Final?
  /// Encoded ``MessageRecord`` and ``AttemptResult``, for history; both empty in a row of events about no message.
  package var record: [UInt8]
  package var outcome: [UInt8]
  package var deferrals: Int

  package init(
    number: MessageNumber, serial: Int, at: Milliseconds, record: [UInt8], outcome: [UInt8], deferrals: Int
  ) {
    self.number = number
    self.serial = serial
    self.at = at
    self.record = record
    self.outcome = outcome
    self.deferrals = deferrals
  }

  private enum Tag {
    static let number: UInt8 = 1
    static let serial: UInt8 = 2
    static let at: UInt8 = 3
    static let eventID: UInt8 = 4
    static let eventKind: UInt8 = 5
    static let eventJSON: UInt8 = 6
    static let eventFallback: UInt8 = 7
    static let state: UInt8 = 8
    static let reason: UInt8 = 9
    static let record: UInt8 = 10
    static let outcome: UInt8 = 11
    static let deferrals: UInt8 = 12
  }

  package func encoded() -> [UInt8] {
    var writer = RecordWriter(capacity: record.count + outcome.count + events.count * 400 + 64)
    writer.put(Tag.number, Int64(bitPattern: number.value))
    writer.put(Tag.serial, serial)
    writer.put(Tag.at, at)
    for event in events {
      writer.put(Tag.eventID, event.id)
      writer.put(Tag.eventKind, event.kind)
      writer.put(Tag.eventJSON, event.json)
      writer.put(Tag.eventFallback, event.fallbackJSON)
    }
    writer.put(Tag.state, final?.state.rawValue)
    writer.put(Tag.reason, final?.reason)
    writer.put(Tag.record, record)
    writer.put(Tag.outcome, outcome)
    writer.put(Tag.deferrals, deferrals)
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(RecordError) {
    self.init(number: MessageNumber(0), serial: 0, at: 0, record: [], outcome: [], deferrals: 0)
    var reader = RecordReader(bytes)
    var state: FinalState?
    var reason: String?
    while let field = try reader.next() {
      switch field.tag {
      case Tag.number: number = MessageNumber(UInt64(bitPattern: field.int64))
      case Tag.serial: serial = field.int
      case Tag.at: at = field.int64
      case Tag.eventID: events.append(Event(id: field.string, kind: "", json: "", fallbackJSON: nil))
      case Tag.eventKind: if !events.isEmpty { events[events.count - 1].kind = field.string }
      case Tag.eventJSON: if !events.isEmpty { events[events.count - 1].json = field.string }
      case Tag.eventFallback: if !events.isEmpty { events[events.count - 1].fallbackJSON = field.string }
      case Tag.state: state = FinalState(rawValue: field.string)
      case Tag.reason: reason = field.string
      case Tag.record: record = Array(field.bytes)
      case Tag.outcome: outcome = Array(field.bytes)
      case Tag.deferrals: deferrals = field.int
      default: continue
      }
    }
    final = state.map { Final(state: $0, reason: reason) }
    guard !record.isEmpty || !events.isEmpty else { throw .missing(tag: Tag.record) }
  }
}
