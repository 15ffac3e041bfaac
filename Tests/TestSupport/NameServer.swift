internal import Foundation
internal import Glibc

/// A real authoritative name server (nsd) on loopback with the zones of one test.
package final class NameServer: @unchecked Sendable {
  // Only one test holds it; `process` changes in start and stop.
  package let port: Int
  private let scratch: Scratch
  private let process: TestProcess
  private let files: [String: String]
  private let ttl: Int
  private var serial = 1

  /// - Parameters:
  ///   - zones: zone → its records without SOA and NS, one a line.
  ///   - ttl: seconds, also of what is not there.
  package init(zones: [String: [String]], ttl: Int = 300) async throws {
    self.ttl = ttl
    files = Dictionary(
      zones.keys.sorted().enumerated().map { ($0.element, "z\($0.offset).zone") }, uniquingKeysWith: { first, _ in first })
    scratch = try Scratch()
    port = try freePort()
    var config = """
      server:
        ip-address: 127.0.0.1@\(port)
        do-ip6: no
        username: ""
        zonesdir: "\(scratch.path)"
        pidfile: "\(scratch.file("nsd.pid"))"
        logfile: "\(scratch.file("nsd.log"))"
        database: ""
        xfrdfile: "\(scratch.file("xfrd.state"))"
        zonelistfile: "\(scratch.file("zone.list"))"
        rrl-ratelimit: 0
        server-count: 1
      remote-control:
        control-enable: no

      """
    for (zone, file) in files.sorted(by: { $0.key < $1.key }) {
      _ = try scratch.write(file, Self.text(zone, zones[zone] ?? [], ttl, 1))
      config += "zone:\n  name: \"\(zone)\"\n  zonefile: \"\(file)\"\n"
    }
    let path = try scratch.write("nsd.conf", config)
    process = try TestProcess("/usr/sbin/nsd", ["-d", "-c", path])
    let zone = zones.keys.sorted().first ?? ""
    try await eventually("nsd answers for \(zone)") {
      try run("/usr/bin/dig", ["+short", "+time=1", "+tries=1", "@127.0.0.1", "-p", String(self.port), zone, "SOA"]).output
        .contains("ns.")
    }
  }

  private static func text(_ zone: String, _ records: [String], _ ttl: Int, _ serial: Int) -> String {
    """
    $ORIGIN \(zone).
    $TTL \(ttl)
    @ IN SOA ns.\(zone). admin.\(zone). \(serial) 3600 900 86400 \(min(ttl, 30))
    @ IN NS ns.\(zone).
    ns IN A 127.0.0.1

    """ + records.joined(separator: "\n") + "\n"
  }

  /// Other records of a zone, in force within moments.
  package func change(_ zone: String, _ records: [String]) throws {
    serial += 1
    _ = try scratch.write(files[zone] ?? "", Self.text(zone, records, ttl, serial))
    process.send(SIGHUP)
  }

  /// It hears nothing and says nothing until ``resume()``.
  package func pause() { kill(-process.pid, SIGSTOP) }
  package func resume() { kill(-process.pid, SIGCONT) }

  package var server: String { "127.0.0.1@\(port)" }

  deinit { stop() }

  package func stop() {
    process.destroy()
    scratch.remove()
  }
}
