import MTAConfig
import Testing

@Suite struct InspectorConfigTests {
  private func read(_ list: String) -> ConfigReport {
    MTAConfig.read(yaml: minimal + "\ninspectors: \(list)\n", environment: [:], hostName: "h.example.net", readFile: { _ in nil })
  }

  @Test func eachKindWithItsDefaults() throws {
    let report = read(
      """
      [ { kind: rspamd, url: "http://127.0.0.1:11333/" }, { kind: rspamd, url: "http://[::1]/r", reject_above: 8.5, fail: closed },
        { kind: spamassassin, url: "tcp://127.0.0.1:783", timeout: 2s }, { kind: clamav, url: "unix:/run/clamav/clamd.ctl" },
        { kind: clamav, url: "tcp://clam.example:3311" } ]
      """)
    #expect(report.problems == [])
    let list = try #require(report.config).inspectors
    #expect(list.map(\.kind) == [.rspamd, .rspamd, .spamassassin, .clamav, .clamav])
    #expect(
      list.map(\.address) == [
        .tcp(host: "127.0.0.1", port: 11333), .tcp(host: "::1", port: 11333), .tcp(host: "127.0.0.1", port: 783),
        .unix("/run/clamav/clamd.ctl"), .tcp(host: "clam.example", port: 3311),
      ])
    #expect(list.map(\.path) == ["", "/r", "", "", ""])
    #expect(list.map(\.rejectAbove) == [15, 8.5, nil, nil, nil])
    #expect(list.map(\.timeout) == [5000, 5000, 2000, 5000, 5000])
    #expect(list.map(\.failure) == [.open, .closed, .open, .open, .open])
  }

  @Test(arguments: [
    ("{kind: spamd, url: \"tcp://h:1\"}", "inspectors[0].kind"), ("{kind: rspamd}", "inspectors[0].url"),
    ("{kind: rspamd, url: \"https://h\"}", "inspectors[0].url"), ("{kind: rspamd, url: \"http://u:p@h\"}", "inspectors[0].url"),
    ("{kind: rspamd, url: \"http://h/a?b\"}", "inspectors[0].url"), ("{kind: spamassassin, url: \"unix:/x\"}", "inspectors[0].url"),
    ("{kind: spamassassin, url: \"tcp://h/x\"}", "inspectors[0].url"), ("{kind: clamav, url: \"unix:relative\"}", "inspectors[0].url"),
    ("{kind: clamav, url: \"tcp://h\", reject_above: 3}", "inspectors[0].reject_above"),
    ("{kind: rspamd, url: \"http://h\", fail: maybe}", "inspectors[0].fail"),
    ("{kind: rspamd, url: \"http://h\", timeout: 1ms}", "inspectors[0].timeout"),
    ("{kind: rspamd, url: \"http://h\", reject_above: lots}", "inspectors[0].reject_above"),
    ("{kind: rspamd, url: \"http://h\", colour: red}", "inspectors[0].colour"),
  ])
  func faultsAreNamed(entry: String, key: String) {
    let report = read("[\(entry)]")
    #expect(report.config == nil && report.problems.map(\.key) == [key], "\(report.problems)")
  }
}
