internal import Glibc
package import Logging

/// Where log lines go: to journald with their facts as fields when standard error is the journal, else to standard error, one
/// line each (with the priority prefix `<6>` when somebody reads them for the journal).
package enum Log {
  package static func bootstrap(program: String, level: Logger.Level = defaultLevel()) {
    if let journal = JournalSocket.open() {
      return LoggingSystem.bootstrap { _ in
        var handler = JournalLogHandler(program: program, journal: journal)
        handler.logLevel = level
        return handler
      }
    }
    let underSystemd = getenv("JOURNAL_STREAM") != nil
    LoggingSystem.bootstrap { label in
      var handler = LineLogHandler(program: program, label: label, prefixed: underSystemd)
      handler.logLevel = level
      return handler
    }
  }

  /// From `OWLAT_LOG_LEVEL` or upstream's `LOG_LEVEL`; info when neither is a level.
  package static func defaultLevel() -> Logger.Level {
    for name in ["OWLAT_LOG_LEVEL", "LOG_LEVEL"] {
      if let value = getenv(name), let level = Logger.Level(rawValue: String(cString: value).lowercased()) { return level }
    }
    return .info
  }
}

/// Names of the facts on log lines.
package enum LogKey {
  package static let message = "message.id"
  package static let number = "message.number"
  package static let sourceIP = "source.ip"
  package static let error = "error"
  package static let organisation = "organisation"
}

struct LineLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info
  let program: String
  let label: String
  let prefixed: Bool

  init(program: String, label: String, prefixed: Bool) {
    self.program = program
    self.label = label
    self.prefixed = prefixed
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var line = prefixed ? "<\(Self.priority(event.level))>" : "\(Self.stamp()) \(event.level) "
    line += "\(program) \(event.message)"
    for fact in Self.facts(metadata, event.metadata) { line += " \(fact.key)=\(Self.clean(fact.value))" }
    line += "\n"
    line.withUTF8 { bytes in _ = write(2, bytes.baseAddress, bytes.count) }
  }

  static func facts(_ standing: Logger.Metadata, _ own: Logger.Metadata?) -> [(key: String, value: String)] {
    standing.merging(own ?? [:], uniquingKeysWith: { $1 }).sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
  }

  /// Facts may come from remotes: no control character reaches the terminal or starts a line of its own.
  private static func clean(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
  }

  private static func stamp() -> String {
    var seconds = time(nil)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }

  static func priority(_ level: Logger.Level) -> Int {
    switch level {
    case .trace, .debug: 7
    case .info: 6
    case .notice: 5
    case .warning: 4
    case .error: 3
    case .critical: 2
    }
  }
}
