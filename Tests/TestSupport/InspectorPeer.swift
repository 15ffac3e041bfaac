internal import Foundation
internal import Glibc

/// rspamd, spamd or clamd as Debian ships it, unpacked by `deploy/dev/setup.sh --test`, on loopback with a configuration of the
/// test's own; none of them asks anybody else.
package final class InspectorPeer: @unchecked Sendable {
  // Only one test holds it.
  package let port: Int
  private let scratch: Scratch
  private let process: TestProcess

  /// By the name that the configuration of inspectors has for it.
  package static func start(_ kind: String) async throws -> InspectorPeer {
    let folder = PeerMTA.unpacked + "/inspectors"
    guard FileManager.default.fileExists(atPath: folder + "/complete") else {
      throw TimedOut(description: "\(kind) is not unpacked: call deploy/dev/setup.sh --test")
    }
    switch kind {
    case "rspamd": return try await rspamd(folder + "/root")
    case "spamassassin": return try await spamd(folder + "/root")
    default: return try await clamd(folder + "/root")
    }
  }

  /// Debian's name for this machine's kind, as its folders of libraries have it.
  private static func triplet(_ root: String) throws -> String {
    let names = try FileManager.default.contentsOfDirectory(atPath: root + "/usr/lib")
    guard let name = names.first(where: { $0.hasSuffix("-linux-gnu") }) else { throw TimedOut(description: "no libraries in \(root)") }
    return name
  }

  private static func environment(_ root: String) throws -> [String: String] {
    let triplet = try triplet(root)
    var environment = ProcessInfo.processInfo.environment
    environment["LD_LIBRARY_PATH"] = ["/usr/lib/rspamd", "/usr/lib/" + triplet, "/lib/" + triplet].map { root + $0 }.joined(separator: ":")
    return environment
  }

  private static func rspamd(_ root: String) async throws -> InspectorPeer {
    let scratch = try Scratch()
    let port = try freePort()
    let files = FileManager.default
    let conf = scratch.file("conf")
    // By a copy that keeps no owner: another user may have unpacked it.
    guard try run("/bin/cp", ["-R", root + "/etc/rspamd", conf]).code == 0 else {
      throw TimedOut(description: "cannot copy rspamd's rules")
    }
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
    // It runs as root only when told so.
    let user = getuid() == 0 ? ["-i", "-u", "root", "-g", "root"] : []
    return try await InspectorPeer(
      scratch, port, root + "/usr/bin/rspamd",
      ["-f"] + user + ["-c", conf + "/rspamd.conf"] + variables.map { "--var=\($0.key)=\($0.value)" }, environment(root))
  }

  private static func spamd(_ root: String) async throws -> InspectorPeer {
    let scratch = try Scratch()
    let port = try freePort()
    let perl = "\(root)/usr/lib/\(try triplet(root))/perl5"
    let version = try FileManager.default.contentsOfDirectory(atPath: perl).first ?? ""
    let user = getuid() == 0 ? ["--username=nobody", "--groupname=nogroup"] : []
    return try await InspectorPeer(
      scratch, port, "/usr/bin/perl",
      [
        "-T", "-I\(root)/usr/share/perl5", "-I\(perl)/\(version)", root + "/usr/sbin/spamd", "--listen", "127.0.0.1:\(port)", "--local",
        "--nouser-config", "--max-children", "1", "--pidfile", scratch.file("pid"), "--configpath=\(root)/usr/share/spamassassin",
        "--siteconfigpath=\(root)/etc/spamassassin", "-s", "stderr",
      ] + user, nil)
  }

  /// Its one signature is of the test file that every scanner knows.
  private static func clamd(_ root: String) async throws -> InspectorPeer {
    let scratch = try Scratch()
    let port = try freePort()
    try FileManager.default.createDirectory(atPath: scratch.file("signatures"), withIntermediateDirectories: true)
    let octets = eicar.utf8.map { String(format: "%02x", $0) }.joined()
    _ = try scratch.write("signatures/own.ndb", "Owlat.Test.EICAR:0:*:\(octets)\n")
    let configuration = """
      Foreground yes
      TCPAddr 127.0.0.1
      TCPSocket \(port)
      DatabaseDirectory \(scratch.file("signatures"))
      TemporaryDirectory \(scratch.file(""))
      MaxThreads 2
      """
    _ = try scratch.write("clamd.conf", configuration + "\n")
    return try await InspectorPeer(
      scratch, port, root + "/usr/sbin/clamd", ["--config-file=" + scratch.file("clamd.conf")], environment(root))
  }

  /// In two halves, so that no scanner takes this file for it.
  package static let eicar = #"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-"# + "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

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
