import Foundation
import Glibc
import Journal
import MTAConfig
import MailFormat

/// What an installation keeps in its own folders.
extension Installation {
  /// One supervisor a state directory; a second one is told who holds it.
  private static func lock(_ directory: String) throws -> JournalLock {
    switch JournalLock.take(directory: directory) {
    case .success(let lock): return lock
    case .failure(.held(let pid)):
      throw SetupError("another supervisor (process \(pid.map(String.init) ?? "?")) runs on \(directory)")
    case .failure(let error): throw error
    }
  }

  /// - Returns: the state directory's lock: whoever does not get it leaves nothing in there, which a restore would find.
  static func prepareDirectories(_ config: MTAConfig) throws -> JournalLock {
    for path in [config.stateDir, config.runtimeDir] { try makeDirectory(path) }
    let lock = try lock(config.stateDir)
    try makeDirectory(config.stateDir + "/journal")
    closeToOthers(config.stateDir)
    return lock
  }

  private static func makeDirectory(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch { throw SetupError("\(path) cannot be made: \(error.localizedDescription)") }
  }

  /// What an earlier version or a careless copy left readable.
  private static func closeToOthers(_ directory: String) {
    chmod(directory, 0o700)
    for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] {
      let path = directory + "/" + name
      let type = (try? FileManager.default.attributesOfItem(atPath: path))?[.type] as? FileAttributeType
      if type == .typeRegular { chmod(path, 0o600) } else if type == .typeDirectory { chmod(path, 0o700) }
    }
  }

  /// The secret of the configuration, or one made once and kept.
  static func secret(_ config: MTAConfig) throws -> String {
    if !config.secret.isEmpty { return config.secret }
    return try PrivateFile.textMadeOnce(config.stateDir + "/secret") { Digest.hex(Digest.randomBytes(32)) }
  }

  /// What this host is called in the queue, made once: outcomes wait under this name, whatever the host is renamed to.
  static func hostIdentity(_ config: MTAConfig) throws -> String {
    let path = config.stateDir + "/host-id"
    if let text = try? String(contentsOfFile: path, encoding: .utf8), !text.isEmpty {
      return text.trimmingCharacters(in: .newlines)
    }
    let fresh = config.hostname + "-" + Digest.hex(Digest.randomBytes(4))
    do { try (fresh + "\n").write(toFile: path, atomically: true, encoding: .utf8) } catch {
      throw SetupError("\(path) cannot be written")
    }
    return fresh
  }
}
