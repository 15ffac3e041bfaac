import Foundation
import Glibc
import TestSupport

/// The product as `make install` puts it, under a real systemd that is PID 1 of namespaces of its own.
final class SystemdRig: @unchecked Sendable {
  // Only one test holds it.
  struct Fault: Error, CustomStringConvertible { let description: String }

  let mta: MTAFixture
  private let state: Scratch
  private var boot: TestProcess?
  private var manager = "-1"

  /// Why it cannot run here; nil = it can.
  static let obstacle: String? = {
    guard geteuid() == 0 else { return "not root" }
    guard FileManager.default.isExecutableFile(atPath: "/lib/systemd/systemd") else { return "systemd is not installed" }
    guard let probe = try? run("/usr/bin/unshare", ["--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "/bin/true"]),
      probe.code == 0
    else { return "namespaces are not permitted" }
    let root = FileManager.default.fileExists(atPath: "/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup"
    let group = "\(root)/owlat-probe.\(getpid())"
    defer { rmdir(group) }
    return mkdir(group, 0o755) == 0 ? nil : "control groups are not writable"
  }()

  /// - Parameters:
  ///   - service: lines of a drop-in for `owlat-mta.service`, section `[Service]`.
  ///   - sockets: addresses of socket units, instead of their own.
  ///   - usesRedisUnit: with the Redis of `owlat-mta-redis.service`, else with a private one.
  init(_ options: MTAFixture.Options, service: String = "", sockets: [String: [String]] = [:], usesRedisUnit: Bool = false)
    async throws
  {
    var options = options
    if usesRedisUnit { options.extra += "redis: { url: \"unix:///run/owlat-mta-redis/redis.sock\" }\n" }
    mta = try await MTAFixture(options)
    state = try Scratch()
    let lines = try String(contentsOfFile: mta.config, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
      .filter { !$0.hasPrefix("state_dir:") && !$0.hasPrefix("runtime_dir:") }
    _ = try state.write("config.yaml", lines.joined(separator: "\n"))
    try dropIn("owlat-mta.service", "[Service]\nEnvironment=OWLAT_LOG_LEVEL=info\n\(service)\n")
    for (unit, addresses) in sockets.merging(["owlat-mta-api.socket": ["127.0.0.1:\(mta.port)"]], uniquingKeysWith: { given, _ in given }) {
      try dropIn(unit, "[Socket]\nListenStream=\n" + addresses.map { "ListenStream=\($0)\n" }.joined())
    }
    var environment = ProcessInfo.processInfo.environment
    environment["BIN"] = MTAFixture.binaries
    let process = try TestProcess(
      "/bin/bash", ["Tests/Fixtures/systemd-namespace.sh", state.path], environment: environment, output: state.file("boot.log"))
    boot = process
    do {
      try await eventually("systemd is up", within: .seconds(40)) {
        let children = (try? String(contentsOfFile: "/proc/\(process.pid)/task/\(process.pid)/children", encoding: .utf8)) ?? ""
        self.manager = children.split(separator: " ").first.map(String.init) ?? "-1"
        return try self.inside("systemctl", "is-active", "boot.target").output.hasPrefix("active")
      }
    } catch { throw Fault(description: "\(error)\n\(text("boot.log"))\(text("install.log"))") }
  }

  private func text(_ name: String) -> String { (try? String(contentsOfFile: state.file(name), encoding: .utf8)) ?? "" }

  private func dropIn(_ unit: String, _ text: String) throws {
    let folder = state.file("dropins/\(unit).d")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try text.write(toFile: folder + "/test.conf", atomically: true, encoding: .utf8)
  }

  deinit { destroy() }

  func end() async {
    destroy()
    await mta.tearDown()
  }

  private func destroy() {
    guard let boot else { return }
    boot.destroy()
    self.boot = nil
    let group = text("cgroup").trimmingCharacters(in: .whitespacesAndNewlines)
    // The kernel takes a moment to let the last process go.
    if !group.isEmpty {
      _ = try? run(
        "/bin/bash",
        ["-c", "for i in $(seq 100); do find '\(group)' -depth -type d -exec rmdir {} + 2>/dev/null && break; sleep 0.02; done"])
    }
    state.remove()
  }

  // MARK: inside

  @discardableResult
  func inside(_ words: String...) throws -> (code: Int32, output: String, errors: String) { try inside(words) }

  func inside(_ words: [String]) throws -> (code: Int32, output: String, errors: String) {
    try run("/usr/bin/nsenter", ["-t", manager, "-m", "-p", "-i", "-u", "-C", "--"] + words)
  }

  func property(_ name: String, of unit: String = "owlat-mta.service") throws -> String {
    try inside("systemctl", "show", "-p", name, "--value", unit).output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  func mainPID(of unit: String = "owlat-mta.service") throws -> Int { Int(try property("MainPID", of: unit)) ?? 0 }

  /// Entries of the journal that match, as field → value.
  func journal(_ matches: String...) throws -> [[String: String]] {
    let output = try run(
      "/usr/bin/nsenter", ["-t", manager, "-m", "-p", "-i", "-u", "-C", "--", "journalctl", "-o", "json", "--no-pager", "-q"] + matches
    ).output
    return output.split(separator: "\n").compactMap {
      ((try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any])?.compactMapValues { $0 as? String }
    }
  }

  func start() throws {
    let result = try inside("systemctl", "start", "owlat-mta.service")
    guard result.code == 0 else { throw Fault(description: result.errors + describe()) }
  }

  func describe() -> String {
    let views = [
      try? inside("systemctl", "status", "--no-pager", "-l", "owlat-mta.service", "owlat-mta-api.socket", "owlat-mta-redis.service"),
      try? inside("journalctl", "--no-pager", "-n", "60"),
    ]
    return views.map { $0?.output ?? "" }.joined(separator: "\n")
  }
}
