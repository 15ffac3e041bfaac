import Foundation
import Glibc
import Logging
import Observability

/// What operators did, in `<state_dir>/audit.jsonl`: one line an action, kept apart from the log, because it answers another
/// question and lives longer. The newest file has at most ``fileLimit`` octets; ``kept`` older ones stay beside it.
actor AuditLog {
  struct Entry: Codable, Sendable, Equatable {
    /// RFC 3339 UTC.
    var at: String
    /// `uid N`, `master key`, or `key ID of ORGANISATION`.
    var who: String
    /// The client's address; absent for the control socket.
    var from: String?
    /// A command's words, or method and route.
    var what: String
    var details: [String: String]
    /// `done`, or why not.
    var outcome: String
  }

  static let fileLimit = 16 << 20
  static let kept = 4

  private let path: String
  private let fileLimit: Int
  private let log: Logger

  init(path: String, fileLimit: Int = AuditLog.fileLimit, log: Logger) {
    self.path = path
    self.fileLimit = fileLimit
    self.log = log
  }

  func note(who: String, from: String?, what: String, details: [String: String], outcome: String) {
    let entry = Entry(
      at: Timestamp.rfc3339(SystemClock.now()), who: who, from: from, what: what, details: Self.shown(details), outcome: outcome)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard var line = try? encoder.encode(entry) else { return }
    line.append(0x0A)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return log.error("audit log cannot be opened", metadata: [LogKey.error: "\(errno)"]) }
    let written = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    let size = lseek(descriptor, 0, SEEK_END)
    close(descriptor)
    if written != line.count { log.error("audit log cannot be written", metadata: [LogKey.error: "\(errno)"]) }
    if size >= fileLimit { rotate() }
  }

  /// For commands that work beside the supervisor, on its files.
  static func note(_ what: String, _ details: [String: String], stateDir: String) async {
    let path = stateDir + "/audit.jsonl"
    let isNew = access(path, F_OK) != 0
    await AuditLog(path: path, log: Logger(label: "audit"))
      .note(who: "uid \(getuid())", from: nil, what: what, details: details, outcome: "done")
    // The supervisor writes there too.
    guard isNew, geteuid() == 0, let owner = try? FileManager.default.attributesOfItem(atPath: stateDir),
      let uid = owner[.ownerAccountID] as? Int, let gid = owner[.groupOwnerAccountID] as? Int
    else { return }
    chown(path, uid_t(uid), gid_t(gid))
  }

  private func rotate() {
    for index in stride(from: Self.kept - 1, through: 1, by: -1) { rename("\(path).\(index)", "\(path).\(index + 1)") }
    rename(path, path + ".1")
  }

  /// Never in the log, whatever their value.
  private static let hidden: Set<String> = ["pem", "privateKey", "body", "secret", "password", "token", "key", "masterKey"]

  private static func shown(_ details: [String: String]) -> [String: String] {
    var shown: [String: String] = [:]
    for (name, value) in details where !hidden.contains(name) {
      // A key in a path is known by its hash, as in the list of keys.
      shown[name] = value.hasPrefix("owlat_") ? "key \(Credentials.id(value).prefix(12))" : String(value.prefix(200))
    }
    return shown
  }

  // MARK: commands

  /// Commands by whose last word nothing changes, and mail.
  private static let looks: Set<String> = ["list", "show", "explain", "trace", "preview", "pauses", "status", "top", "gates", "send"]

  static func isAction(_ command: String) -> Bool { !looks.contains(command.split(separator: " ").last.map(String.init) ?? "") }
}
