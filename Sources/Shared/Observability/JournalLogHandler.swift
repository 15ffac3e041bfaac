internal import CShims
internal import Glibc
internal import Logging

/// The connection to journald for structured entries, when standard error is the journal.
struct JournalSocket: Sendable {
  private let descriptor: Int32

  /// Nil when standard error goes elsewhere, or journald does not answer.
  static func open() -> JournalSocket? {
    guard let stream = getenv("JOURNAL_STREAM") else { return nil }
    let descriptor = shim_journal_open(stream)
    return descriptor < 0 ? nil : JournalSocket(descriptor: descriptor)
  }

  func send(_ entry: JournalEntry) {
    entry.octets.withUnsafeBytes { _ = shim_journal_send(descriptor, $0.baseAddress, $0.count) }
  }
}

/// One entry in journald's native form: `FIELD=value` lines.
struct JournalEntry: Sendable {
  /// Longer values are cut: an entry must fit into a datagram.
  private static let valueLimit = 16_384

  private(set) var octets: [UInt8] = []

  /// Without control characters a value needs no length of its own.
  mutating func add(_ field: String, _ value: String) {
    octets += Array(field.utf8)
    octets.append(0x3D)
    octets += value.utf8.prefix(Self.valueLimit).map { $0 < 0x20 || $0 == 0x7F ? 0x3F : $0 }
    octets.append(0x0A)
  }

  /// `MTA_` and the key in capitals: `message.id` is `MTA_MESSAGE_ID` (journald keeps `MESSAGE_ID` for itself).
  static func field(_ key: String) -> String {
    "MTA_"
      + String(
        decoding: key.utf8.map { octet -> UInt8 in
          switch octet {
          case 0x61...0x7A: octet - 0x20
          case 0x41...0x5A, 0x30...0x39: octet
          default: 0x5F
          }
        }, as: UTF8.self)
  }
}

/// Log lines as journal entries: the line that people read, its priority, and each fact as a field of its own.
struct JournalLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info
  let program: String
  let journal: JournalSocket

  init(program: String, journal: JournalSocket) {
    self.program = program
    self.journal = journal
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let facts = LineLogHandler.facts(metadata, event.metadata)
    var entry = JournalEntry()
    entry.add("MESSAGE", facts.reduce(event.message.description) { $0 + " \($1.key)=\($1.value)" })
    entry.add("PRIORITY", String(LineLogHandler.priority(event.level)))
    entry.add("SYSLOG_IDENTIFIER", program)
    for fact in facts { entry.add(JournalEntry.field(fact.key), fact.value) }
    journal.send(entry)
  }
}
