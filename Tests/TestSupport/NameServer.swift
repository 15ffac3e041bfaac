internal import Foundation

/// A real authoritative name server (nsd) on loopback with the zones of one test.
package final class NameServer: @unchecked Sendable {
  // Only one test holds it; `process` changes in start and stop.
  package let port: Int
  private let scratch: Scratch
  private let process: TestProcess

  /// - Parameter zones: zone → its records without SOA and NS, one a line.
  package init(zones: [String: [String]]) async throws {
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
    for (index, zone) in zones.sorted(by: { $0.key < $1.key }).enumerated() {
      let text = """
        $ORIGIN \(zone.key).
        $TTL 300
        @ IN SOA ns.\(zone.key). admin.\(zone.key). 1 3600 900 86400 30
        @ IN NS ns.\(zone.key).
        ns IN A 127.0.0.1

        """ + zone.value.joined(separator: "\n") + "\n"
      _ = try scratch.write("z\(index).zone", text)
      config += "zone:\n  name: \"\(zone.key)\"\n  zonefile: \"z\(index).zone\"\n"
    }
    let path = try scratch.write("nsd.conf", config)
    process = try TestProcess("/usr/sbin/nsd", ["-d", "-c", path])
    let zone = zones.keys.sorted().first ?? ""
    try await eventually("nsd answers for \(zone)") {
      try run("/usr/bin/dig", ["+short", "+time=1", "+tries=1", "@127.0.0.1", "-p", String(self.port), zone, "SOA"]).output
        .contains("ns.")
    }
  }

  package var server: String { "127.0.0.1@\(port)" }

  deinit { stop() }

  package func stop() {
    process.destroy()
    scratch.remove()
  }
}
