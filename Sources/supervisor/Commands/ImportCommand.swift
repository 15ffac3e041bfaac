import ArgumentParser
import Foundation
import Glibc
import MTAConfig
import NIOPosix
import Observability
import Redis

struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Bring over the settings of another installation.", subcommands: [Upstream.self])

  struct Upstream: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "DKIM keys, suppression list, API keys, pool rules and warming of an upstream Owlat MTA, from its Redis.",
      discussion: """
        Nothing is changed there, and what is ours already stays as it is. The supervisor must run. Mail in upstream's queue does \
        not come along: let it drain first.

        Example: supervisor import upstream --redis redis://10.0.0.5:6379 --dry-run
        """)
    @Option(help: "Upstream's Redis: redis://[user[:password]@]host[:port] or unix:///path.") var redis: String
    @Option(help: "A file with upstream's MTA_SECRET, for keys that it sealed; without it our own secret is tried.") var secretFile: String?
    @Flag(help: "Only report what would be done.") var dryRun = false
    @OptionGroup var common: CommonOptions

    func run() async throws {
      await withAsyncFaults {
        let config = try common.required()
        guard let from = RedisEndpoint(url: redis, username: "", password: "") else {
          throw CommandFault(
            code: 2, text: "--redis must be redis://[user[:password]@]host[:port] (no other database, no TLS) or unix:///path")
        }
        // Whoever answers here has its private Redis up.
        _ = try common.ask("status")
        guard let to = config.redisAccess else { throw CommandFault(code: 1, text: "redis.url \(config.redis.url) cannot be written to") }
        let (source, sink) = (Self.client(from), Self.client(to))
        let connections = [source, sink].map { client in Task { await client.run() } }
        defer { for connection in connections { connection.cancel() } }
        try await Self.connected(source, "upstream's Redis")
        try await Self.connected(sink, "our Redis")
        let common = common
        let secret = try Self.secret(config)
        let upstreamSecret = try secretFile.map { path -> String in
          guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw CommandFault(code: 1, text: "\(path) cannot be read")
          }
          return text.trimmingCharacters(in: .newlines)
        }
        let report = try await UpstreamImport(
          source: UpstreamRedis(client: source), store: QueueStore(client: sink, keys: RedisKeys(prefix: config.redis.prefix)),
          config: config, box: SecretBox(secret: secret), upstreamBox: UpstreamBox(secret: upstreamSecret ?? secret), applies: !dryRun,
          fresh: Self.fresh(try common.ask("ip list")),
          setWarming: { address, handover in
            let text = String(decoding: try JSONEncoder().encode(handover), as: UTF8.self)
            _ = try common.ask("ip warming", ["address": address, "handover": text])
          }
        ).run()
        if !dryRun { await AuditLog.note("import upstream", ["redis": from.url], stateDir: config.stateDir) }
        try show(report)
      }
    }

    /// IPs on their first day of warming.
    private static func fresh(_ list: String) throws -> Set<String> {
      let rows = try JSONDecoder().decode([Fleet.Row].self, from: Data(list.utf8))
      return Set(rows.filter { $0.warming?.day == 1 && $0.state != .probation }.map(\.address))
    }

    private static func client(_ endpoint: RedisEndpoint) -> RedisClient {
      RedisClient(
        endpoint: endpoint, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: false, clock: SystemClock.now)
    }

    private static func connected(_ client: RedisClient, _ name: String) async throws {
      let deadline = SystemClock.monotonic() + 5_000
      while client.session == nil {
        guard SystemClock.monotonic() < deadline else {
          throw CommandFault(code: 1, text: "\(name) does not answer: \(client.lastFault ?? "no connection")")
        }
        try await Task.sleep(for: .milliseconds(10))
      }
    }

    private static func secret(_ config: MTAConfig) throws -> String {
      if !config.secret.isEmpty { return config.secret }
      guard let text = try? String(contentsOfFile: config.stateDir + "/secret", encoding: .utf8) else {
        throw CommandFault(code: 1, text: "\(config.stateDir)/secret cannot be read: call this as root or the supervisor's user")
      }
      return text.trimmingCharacters(in: .newlines)
    }

    private func show(_ report: UpstreamImport.Report) throws {
      if common.json { return try printJSON(report) }
      Table.print(
        ["KIND", "FOUND", report.applied ? "IMPORTED" : "WOULD IMPORT", "SKIPPED", "FAULTS"],
        report.kinds.map { [$0.kind, "\($0.found)", "\($0.imported)", "\($0.skipped)", "\($0.faults.count)"] })
      for fault in report.kinds.flatMap(\.faults) { print("- \(Table.shown(fault))") }
      for kind in report.left { print("- left behind: \(kind.count) \(kind.what)") }
    }
  }
}
