internal import Foundation
internal import Glibc

/// rspamd or spamd as Debian ships it, unpacked by `deploy/dev/inspectors.sh`, on loopback with a configuration of the test's own.
package final class InspectorPeer: @unchecked Sendable {
  // Only one test holds it.
  package let port: Int
  private let scratch: Scratch
  private let process: TestProcess

  /// Where the programs are unpacked: `INSPECTOR_PEERS` (a name with `OWLAT_` would be a key of the configuration), or nil.
  package static var folder: String? {
    guard let folder = ProcessInfo.processInfo.environment["INSPECTOR_PEERS"], getuid() == 0,
      FileManager.default.fileExists(atPath: folder + "/complete")
    else { return nil }
    return folder + "/root"
  }

  package static func rspamd(_ root: String) async throws -> InspectorPeer {
    let scratch = try Scratch()
    let port = try freePort()
    let files = FileManager.default
    let conf = scratch.file("conf")
    try files.copyItem(atPath: root + "/etc/rspamd", toPath: conf)
    try files.createDirectory(atPath: scratch.file("run"), withIntermediateDirectories: true)
    try files.createDirectory(atPath: conf + "/local.d", withIntermediateDirectories: true)
    var local = ["worker-normal.inc": "bind_socket = \"127.0.0.1:\(port)\"; count = 1;"]
    for worker in ["controller", "proxy", "fuzzy"] { local["worker-\(worker).inc"] = "enabled = false;" }
    // Nobody else is asked, and the list of top domains is short: compiling the long one takes half a minute.
    local["options.inc"] =
      "dns { nameserver = [\"127.0.0.1:9\"]; timeout = 0.1s; retransmits = 1; }\nurl_tld = \"\(scratch.file("tld"))\"; disable_hyperscan = true;"
    for module in [
      "rbl", "surbl", "fuzzy_check", "asn", "phishing", "mx_check", "neural", "greylist", "ratelimit", "replies", "dmarc", "spf", "dkim",
      "arc", "history_redis", "bayes_expiry", "whitelist",
    ] { local["\(module).conf"] = "enabled = false;" }
    for (name, text) in local { _ = try scratch.write("conf/local.d/\(name)", text + "\n") }
    _ = try scratch.write("tld", "com\nexample\nnet\norg\n")
    let share = root + "/usr/share/rspamd"
    var variables = [
      "CONFDIR": conf, "LOCAL_CONFDIR": conf, "SHAREDIR": share, "PLUGINSDIR": share + "/plugins", "RULESDIR": share + "/rules",
    ]
    variables["LUALIBDIR"] = share + "/lualib"
    variables["WWWDIR"] = share + "/www"
    for name in ["DBDIR", "RUNDIR", "LOGDIR"] { variables[name] = scratch.file("run") }
    var environment = ProcessInfo.processInfo.environment
    environment["LD_LIBRARY_PATH"] = root + "/usr/lib/rspamd:" + root + "/usr/lib/x86_64-linux-gnu"
    return try await InspectorPeer(
      scratch, port, root + "/usr/bin/rspamd",
      ["-f", "-i", "-u", "root", "-g", "root", "-c", conf + "/rspamd.conf"] + variables.map { "--var=\($0.key)=\($0.value)" },
      environment)
  }

  package static func spamd(_ root: String) async throws -> InspectorPeer {
    let scratch = try Scratch()
    let port = try freePort()
    let binary = try FileManager.default.contentsOfDirectory(atPath: root + "/usr/lib/x86_64-linux-gnu/perl5").first ?? ""
    return try await InspectorPeer(
      scratch, port, "/usr/bin/perl",
      [
        "-T", "-I\(root)/usr/share/perl5", "-I\(root)/usr/lib/x86_64-linux-gnu/perl5/\(binary)", root + "/usr/sbin/spamd",
        "--listen", "127.0.0.1:\(port)", "--local", "--nouser-config", "--max-children", "1", "--pidfile", scratch.file("pid"),
        "--configpath=\(root)/usr/share/spamassassin", "--siteconfigpath=\(root)/etc/spamassassin", "--username=nobody",
        "--groupname=nogroup", "-s", "stderr",
      ], nil)
  }

  private init(_ scratch: Scratch, _ port: Int, _ program: String, _ arguments: [String], _ environment: [String: String]?) async throws {
    self.scratch = scratch
    self.port = port
    process = try TestProcess(program, arguments, environment: environment, output: scratch.file("log"))
    let process = process
    do {
      try await eventually("\(program) listens", within: .seconds(40)) {
        guard process.isRunning else { throw TimedOut(description: "it ended") }
        return Self.listens(port)
      }
    } catch {
      let log = (try? String(contentsOfFile: scratch.file("log"), encoding: .utf8)) ?? ""
      throw TimedOut(description: "\(error): \(log.suffix(1000))")
    }
  }

  private static func listens(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    address.sin_port = UInt16(port).bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
    }
  }

  package func stop() {
    process.destroy()
    scratch.remove()
  }
}
