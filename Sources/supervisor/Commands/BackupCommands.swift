import ArgumentParser
import Foundation
import Glibc
import MTAConfig
import Observability

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Write a backup of queue, history, events, keys and journals.",
    discussion: """
      The supervisor may run: mail goes on meanwhile. Take the last backup before a move with the supervisor stopped; such a \
      backup is final. The configuration file is not in it; the secret that seals keys is, so keep it safe (mode 0600).

      Example: supervisor backup /var/backups/mta.tar
      """)
  @Argument(help: "A new folder, or a new file whose name ends with .tar.") var path: String
  @OptionGroup var common: CommonOptions

  func run() async throws {
    await withAsyncFaults {
      let config = try common.required()
      umask(0o077)
      guard !FileManager.default.fileExists(atPath: path) else { throw CommandFault(code: 1, text: "\(path) is there already") }
      let isArchive = path.hasSuffix(".tar")
      let folder = isArchive ? path + ".partial" : path
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
      } catch {
        throw CommandFault(code: 1, text: "\(folder) cannot be made: \((error as NSError).localizedDescription)")
      }
      let interruption = Interruption { [path] in
        try? FileManager.default.removeItem(atPath: folder)
        if isArchive { try? FileManager.default.removeItem(atPath: path) }
        CommandFault(code: 1, text: "interrupted: there is no backup").leave()
      }
      do {
        let manifest = try Backup(config: config).write(to: folder)
        let size = Backup.size(folder)
        if isArchive {
          try await Tar.run(["-C", folder, "-cf", path, "."])
          try FileManager.default.removeItem(atPath: folder)
        }
        withExtendedLifetime(interruption) {}
        await AuditLog.note("backup", ["path": path], stateDir: config.stateDir)
        try show(manifest, size)
      } catch {
        try? FileManager.default.removeItem(atPath: folder)
        throw error
      }
    }
  }

  private func show(_ manifest: Backup.Manifest, _ size: (files: Int, octets: Int)) throws {
    struct Document: Encodable {
      var path: String
      var at: String
      var final: Bool
      var files: Int
      var bytes: Int
    }
    let at = Timestamp.rfc3339(manifest.at)
    if common.json {
      return try printJSON(Document(path: path, at: at, final: manifest.isFinal, files: size.files, bytes: size.octets))
    }
    print("\(path): \(size.files) files, \(size.octets) octets, as of \(at)\(manifest.isFinal ? ", final: nothing was running" : "")")
  }
}

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Restore a backup into an empty state directory.",
    discussion: """
      The supervisor must not run. Messages that left after the backup are still in its queue: unless the backup is final, every \
      organization with mail in it starts paused (`queue pauses`). Look, cancel what left, then `org resume`; new mail of others \
      flows. Never start the old installation again beside the restored one.

      Example: supervisor restore /var/backups/mta.tar
      """)
  @Argument(help: "The folder or .tar file of a backup.") var path: String
  @Option(help: "State directory (default: the configuration's).") var into: String?
  @Option(help: "Where Redis keeps its data (default: that of the private Redis, or of owlat-mta-redis).") var redisDir: String?
  @Flag(help: "Pause nothing: no message left after this backup.") var release = false
  @OptionGroup var common: CommonOptions

  func run() async throws {
    await withAsyncFaults {
      let config = try common.required()
      umask(0o077)
      let stateDir = into ?? config.stateDir
      let restore = Restore(config: config, stateDir: stateDir, redisDir: try redisFolder(config, stateDir), releases: release)
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
        throw CommandFault(code: 1, text: "\(path) is not there")
      }
      let (path, isArchive) = (path, !isFolder.boolValue)
      let work = Task {
        try await restore.run { target in
          if isArchive { return try await Tar.run(["-C", target, "--no-same-owner", "-xf", path]) }
          for name in try FileManager.default.contentsOfDirectory(atPath: path) {
            try Task.checkCancellation()
            try FileManager.default.copyItem(atPath: path + "/" + name, toPath: target + "/" + name)
          }
        }
      }
      let interruption = Interruption { work.cancel() }
      let result: Restore.Result
      do { result = try await work.value } catch  where work.isCancelled {
        throw CommandFault(code: 1, text: "interrupted: \(stateDir) is as it was")
      }
      withExtendedLifetime(interruption) {}
      await AuditLog.note("restore", ["path": path], stateDir: stateDir)
      try show(result, stateDir)
    }
  }

  private func redisFolder(_ config: MTAConfig, _ stateDir: String) throws -> String {
    if let redisDir { return redisDir }
    switch config.redis.url {
    case "embedded": return stateDir + "/redis"
    case "unix:///run/owlat-mta-redis/redis.sock": return "/var/lib/owlat-mta-redis"
    default: throw CommandFault(code: 2, text: "redis.url is a Redis of your own: say with --redis-dir where its data shall be")
    }
  }

  private func show(_ result: Restore.Result, _ stateDir: String) throws {
    struct Document: Encodable {
      var from: String
      var into: String
      var at: String
      var final: Bool
      var messages: Int
      var paused: [String]
    }
    let at = Timestamp.rfc3339(result.manifest.at)
    if common.json {
      return try printJSON(
        Document(
          from: path, into: stateDir, at: at, final: result.manifest.isFinal, messages: result.messages, paused: result.paused))
    }
    print("\(stateDir): restored as of \(at), \(result.messages) messages in the queue")
    if !result.paused.isEmpty { print("paused: \(result.paused.count) organizations (see `queue pauses`; `org resume` lets each go)") }
  }
}

/// tar(1), which every Debian has.
enum Tar {
  static func run(_ arguments: [String]) async throws {
    let child = try ChildProcess.spawn("/bin/tar", arguments, environment: ["PATH=/usr/bin:/bin"], control: nil)
    guard await child.exit() == .code(0) else { throw CommandFault(code: 1, text: "tar did not succeed") }
  }
}

extension CommonOptions {
  /// The configuration, or the fault of a command that cannot do without.
  func required() throws -> MTAConfig {
    let report = report()
    guard let config = report.config else {
      throw CommandFault(code: 1, text: "\(configPath): \(report.problems.first?.description ?? "not readable")")
    }
    return config
  }
}

/// Runs a command's body; faults leave as they should.
func withAsyncFaults(_ body: () async throws -> Void) async {
  do { try await body() } catch let fault as CommandFault { fault.leave() } catch {
    CommandFault(code: 1, text: "\(error)").leave()
  }
}

func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
