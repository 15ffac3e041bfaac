import Foundation
import SMTPServer
import TestSupport
import Testing

/// `/metrics`: each family explained, bounded, and moved by what happens.
@Suite(.serialized) struct MetricsTests {
  /// Value of one series by its whole name with labels; nil when it is not there.
  func value(_ text: String, _ series: String) -> Double? {
    text.split(separator: "\n").first { $0.hasPrefix(series + " ") }.flatMap { Double($0.dropFirst(series.count + 1)) }
  }

  @Test func figuresFollowWhatHappens() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.script = { moment in
      if case .rcpt(let recipient) = moment {
        if recipient.hasPrefix("none") { return .reply("550 5.1.1 no such user") }
        if recipient.hasPrefix("grey") { return .reply("451 4.7.1 later") }
      }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    for index in 0..<3 { try await mta.send("ok\(index)", to: "u@\(Zones.domain(0))") }
    try await mta.send("ok0", to: "u@\(Zones.domain(0))")
    try await mta.send("bad", to: "none@\(Zones.domain(0))")
    try await mta.send("grey", to: "grey@\(Zones.domain(1))")
    #expect(try mta.command("org", "pause", "held").code == 0)
    try await mta.send("held", to: "u@\(Zones.domain(0))", org: "held")
    try await eventually("all is counted") {
      let text = try await mta.get("/metrics", key: nil).body
      let promtool = FileManager.default.currentDirectoryPath + "/.build-peers/prometheus/promtool"
      let page = try mta.scratch.write("page", text)
      let judged = try run(
        "/bin/sh", ["-c", "\(promtool) check metrics < \(page) 2>&1 && \(promtool) check rules deploy/prometheus/alerts.yaml"])
      #expect(judged.code == 0, "\(judged.output)")
      return value(text, "mta_worker_delivered_total{ip=\"127.0.0.21\"}") == 3
        && value(text, "mta_emails_sent_total{pool=\"transactional\",isp=\"other\",outcome=\"deferred\"}") == 1
        && value(text, "mta_webhooks_pending") == 0
    }
    let text = try await mta.get("/metrics", key: nil).body
    for (series, expected) in [
      ("mta_emails_sent_total{pool=\"transactional\",isp=\"other\",outcome=\"delivered\"}", 3.0),
      ("mta_emails_sent_total{pool=\"transactional\",isp=\"other\",outcome=\"bounced\"}", 1),
      ("mta_bounces_total{type=\"hard\",isp=\"other\"}", 1), ("mta_smtp_duration_seconds_count{pool=\"transactional\",isp=\"other\"}", 5),
      ("mta_smtp_duration_seconds_bucket{pool=\"transactional\",isp=\"other\",le=\"+Inf\"}", 5), ("mta_accepted_total", 6),
      ("mta_deduplications_total", 1), ("mta_queue_depth{state=\"queued\"}", 1), ("mta_queue_depth{state=\"waiting\"}", 1),
      ("mta_gated_messages{reason=\"org_paused\"}", 1), ("mta_worker_up{ip=\"127.0.0.21\"}", 1), ("mta_redis_connected", 1),
      ("mta_webhook_endpoints_down", 0),
    ] { #expect(value(text, series) == expected, "\(series): \(value(text, series).map { "\($0)" } ?? "absent")") }
    #expect((value(text, "mta_queue_oldest_age_seconds") ?? -1) >= 0)
    // No label tells of a tenant, a recipient or a message.
    for word in [Zones.domain(0), "acme", "held\"", "ok1"] { #expect(!text.contains(word)) }
    // Each series belongs to a family that is explained, each family once.
    var families: [String: Int] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("# HELP ") {
      families[String(line.split(separator: " ")[2]), default: 0] += 1
    }
    #expect(families.values.allSatisfy { $0 == 1 })
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      var name = String(line.prefix { $0 != "{" && $0 != " " })
      for end in ["_bucket", "_sum", "_count"] where families[name] == nil && name.hasSuffix(end) { name.removeLast(end.count) }
      #expect(families[name] == 1, "\(line)")
    }
    await mta.tearDown()
  }
}
