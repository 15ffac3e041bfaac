import DeliveryPolicy
import MTAConfig
import MailModel
import Testing

let minimal = """
  api: { master_key: k }
  bounce: { domain: b.example.net, verp_key: "0123456789abcdef0123456789abcdef" }
  pools: { p: { ips: [192.0.2.1] } }
  """

@Suite struct ConfigTests {
  func read(_ yaml: String, _ environment: [String: String] = [:], files: [String: String] = [:]) -> ConfigReport {
    MTAConfig.read(yaml: yaml, environment: environment, hostName: "host.example.net", readFile: { files[$0] })
  }

  @Test func theLeastThatIsNeeded() throws {
    let report = read(minimal)
    #expect(report.problems == [])
    let config = try #require(report.config)
    #expect(config.hostname == "host.example.net")
    #expect(config.sourceIPs.map(\.ehloName) == ["host.example.net"])
    #expect(config.smtp.maxAge == 4 * 86_400_000)
    #expect(config.retry.delays == [30_000, 120_000, 480_000, 1_800_000, 7_200_000])
    #expect(report.notices == [])
  }

  @Test func everyProblemIsToldAtOnceWithKeyAndLine() {
    let report = read(
      """
      api: { listen: nowhere, master_key: "", max_body_mib: lots }
      retry: { delays: [30s, soon] }
      smtp: { port: 70000, sandbox: maybe, connect_timeout: 30 }
      bounce: { domain: "not a domain", verp_key: short }
      pools:
        p: { ips: [192.0.2.300, {address: 192.0.2.1, colour: red}] }
      providers: { aol: {}, gmail: { defaultRate: -1 } }
      nonsense: 1
      fallbacks: [ { kind: ses } ]
      """)
    #expect(report.config == nil)
    let keys = Set(report.problems.map(\.key))
    for key in [
      "api.listen", "api.master_key", "api.max_body_mib", "retry.delays", "smtp.port", "smtp.sandbox", "smtp.connect_timeout",
      "bounce.domain", "bounce.verp_key", "pools.p.ips", "providers.aol", "providers.gmail.defaultRate", "nonsense", "fallbacks",
    ] {
      #expect(keys.contains(key), "\(key) in \(keys.sorted())")
    }
    #expect(report.problems.contains { $0.text.contains("not a key") && $0.key.hasSuffix("colour") })
    #expect(report.problems.first { $0.key == "nonsense" }?.line == 8)
    #expect(report.problems.first { $0.key == "smtp.port" }?.line == 3)
  }

  @Test(arguments: ["api: {a: 1, a: 2}", "a: [", "- a\n- b", "api: 3\napi: 4"])
  func brokenFiles(yaml: String) { #expect(!read(yaml).problems.isEmpty) }

  @Test func theEnvironmentStandsOverTheFileAndTheFileOverUpstream() throws {
    let yaml = minimal + "\nhostname: file.example.net\n"
    let config = try #require(
      read(yaml, ["OWLAT_HOSTNAME": "env.example.net", "EHLO_HOSTNAME": "up.example.net", "OWLAT_RETRY_DELAYS": "[1s, 2s]"]).config)
    #expect(config.hostname == "env.example.net")
    #expect(config.retry.delays == [1000, 2000])
    #expect(read(yaml, ["EHLO_HOSTNAME": "up.example.net"]).config?.hostname == "file.example.net")
    #expect(read(minimal, ["EHLO_HOSTNAME": "up.example.net"]).config?.hostname == "up.example.net")
    #expect(read(minimal, ["OWLAT_API_MASTER_KEY": "fromenv"]).config?.api.masterKey == "fromenv")
  }

  @Test func upstreamsVariablesAlone() throws {
    let report = read(
      "",
      [
        "MTA_API_KEY": "k", "MTA_SECRET": String(repeating: "s", count: 32), "PORT": "3200", "REDIS_URL": "redis://r:6380",
        "EHLO_HOSTNAME": "mta.example.net", "EHLO_HOSTNAMES": "{\"192.0.2.2\":\"two.example.net\"}", "RETURN_PATH_DOMAIN": "b.example.net",
        "BOUNCE_VERP_KEY": String(repeating: "v", count: 32), "CONVEX_SITE_URL": "https://app.example.net/", "MTA_WEBHOOK_SECRET": "w",
        "IP_POOLS_TRANSACTIONAL": "192.0.2.1", "IP_POOLS_CAMPAIGN": "192.0.2.2, 192.0.2.3", "MAX_MESSAGE_AGE_MS": "7200000",
        "ORG_DEFAULT_DAILY_LIMIT": "10", "DKIM_KEYS": "{\"a.example\":{\"selector\":\"s1\",\"privateKey\":\"PEM\"}}",
      ])
    #expect(report.problems == [])
    let config = try #require(report.config)
    #expect(config.api.listen.hasSuffix(":3200"))
    #expect(config.redis.url == "redis://r:6380")
    #expect(config.pools.map(\.name) == ["transactional", "campaign"])
    #expect(config.sourceIPs.map(\.ehloName) == ["mta.example.net", "two.example.net", "mta.example.net"])
    #expect(config.webhooks.first?.url == "https://app.example.net/webhooks/mta")
    #expect(config.webhooks.first?.ratePerSecond == 50)
    #expect(config.webhooks.first?.events.contains("deferred") == false && config.webhooks.first?.events.contains("sent") == true)
    #expect(config.smtp.maxAge == 7_200_000)
    #expect(config.limits.orgDaily == 10)
    #expect(config.dkimSeeds.map(\.domain) == ["a.example"])
  }

  @Test func secretsComeFromFilesToo() {
    let yaml = """
      api: { master_key_file: key }
      bounce: { domain: b.example.net, verp_key_file: /etc/verp }
      pools: { p: { ips: [192.0.2.1] } }
      """
    let files = ["/creds/key": "from-credentials\n", "/etc/verp": String(repeating: "v", count: 40) + "\n"]
    let config = read(yaml, ["CREDENTIALS_DIRECTORY": "/creds"], files: files).config
    #expect(config?.api.masterKey == "from-credentials")
    #expect(config?.bounce.verpKey == String(repeating: "v", count: 40))
    #expect(read(yaml).problems.contains { $0.key == "api.master_key_file" })
  }

  @Test func laterFeaturesAreValidatedAndNoticed() {
    let report = read(minimal + "\nwarming: { min_sample: 5 }\nbounce.x: 1\n")
    #expect(report.problems.map(\.key) == ["bounce.x"])
    let fine = read(minimal + "\nhistory: { keep_content_days: 3 }\nunsubscribe: { base_url: \"https://u.example/\" }\n")
    #expect(fine.problems == [])
    #expect(fine.notices.map(\.key) == ["history.keep_content_days"])
    #expect(fine.config?.unsubscribeURL == "https://u.example")
    #expect(read(minimal + "\nfallbacks: []\ninspectors: []\ntracking: { domain: \"\" }\n").problems == [])
    for refused in ["fallbacks: [{kind: ses}]", "inspectors: [{kind: rspamd}]", "tracking: {opens: true}"] {
      #expect(read(minimal + "\n" + refused + "\n").problems.count >= 1)
    }
  }

  @Test func anAddressInTwoPoolsIsOneIP() {
    let shared = "\npools: { a: { ips: [192.0.2.1] }, b: { ips: [192.0.2.1, \"2001:DB8::1\"] } }\n"
    let base = "api: { master_key: k }\nbounce: { domain: b.example.net, verp_key: \"0123456789abcdef0123456789abcdef\" }"
    let config = read(base + shared).config
    #expect(config?.sourceIPs.map(\.address) == ["192.0.2.1", "2001:db8::1"])
    #expect(config?.pools(of: "192.0.2.1") == ["a", "b"])
    let clash = "\npools: { a: { ips: [192.0.2.1] }, b: { ips: [{address: 192.0.2.1, ehlo: other.example}] } }\n"
    #expect(read(base + clash).problems.contains { $0.text.contains("different settings") })
  }

  @Test(arguments: [("30s", 30_000), ("0ms", 0), ("2h", 7_200_000), ("1d", 86_400_000)] as [(String, Int64)])
  func durations(text: String, ms: Int64) { #expect(ConfigReader.milliseconds(text) == ms) }

  @Test(arguments: ["30", "s", "-1s", "1.5s", "1 s", "", "99999999999999999999d", "1w"])
  func notDurations(text: String) { #expect(ConfigReader.milliseconds(text) == nil) }
}

/// Where SMTP comes in.
@Suite struct InboundConfigTests {
  func read(_ bounce: String, _ rest: String = "", _ environment: [String: String] = [:]) -> ConfigReport {
    let yaml = """
      api: { master_key: k }
      bounce: { domain: b.example.net, verp_key: "0123456789abcdef0123456789abcdef"\(bounce.isEmpty ? "" : ", " + bounce) }
      pools: { p: { ips: [192.0.2.1] } }
      \(rest)
      """
    return MTAConfig.read(yaml: yaml, environment: environment, hostName: "host.example.net", readFile: { _ in nil })
  }

  @Test func listensInTheirForms() throws {
    let report = read(
      "listen: \"0.0.0.0:25\", tls: {cert: /c, key: /k}",
      "submission: { listen: [\"[::]:587\", \"0.0.0.0:465\", {address: \"0.0.0.0:2465\", tls: implicit}, {address: \"0.0.0.0:465\", tls: starttls}], "
        + "tls: {cert: /c, key: /k} }")
    #expect(report.problems == [] && report.notices.map(\.key) == ["bounce.postmaster"])
    #expect(read("listen: \"0.0.0.0:25\", postmaster: a@b.example").notices == [])
    let config = try #require(report.config)
    #expect(config.bounce.listen == [.init(host: "0.0.0.0", port: 25)])
    #expect(config.bounce.tls == .init(certificate: "/c", key: "/k"))
    #expect(config.submission.listen.map(\.isImplicitTLS) == [false, true, true, false])
    #expect(config.submission.listen.first?.host == "::")
    #expect(read("", "", ["BOUNCE_PORT": "2525"]).config?.bounce.listen == [.init(host: "0.0.0.0", port: 2525)])
    #expect(read("", "", ["OWLAT_BOUNCE_LISTEN": "[\"127.0.0.1:26\"]", "BOUNCE_PORT": "25"]).config?.bounce.listen.map(\.port) == [26])
  }

  @Test(arguments: [
    ("listen: [nowhere]", "", "bounce.listen"), ("listen: [{address: \"0.0.0.0:25\", tls: implicit}]", "", "bounce.listen"),
    ("tls: {cert: /c}", "", "bounce.tls"), ("", "submission: {listen: [\"0.0.0.0:587\"]}", "submission.tls"),
    ("", "submission: {listen: [{address: \"0.0.0.0:587\", tls: maybe}], tls: {cert: /c, key: /k}}", "submission.listen[0].tls"),
    ("", "submission: {listen: [{address: \"0.0.0.0:587\", colour: red}], tls: {cert: /c, key: /k}}", "submission.listen[0].colour"),
  ]) func faults(bounce: String, rest: String, key: String) {
    #expect(read(bounce, rest).problems.map(\.key).contains(key), "\(read(bounce, rest).problems)")
  }

  /// An address from which no mail can come is refused, whatever host this is.
  @Test(arguments: ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "::ffff:127.0.0.60", "ff02::1", "fe80::1"])
  func anAddressThatIsNoSourceIsRefused(address: String) {
    #expect(IPAddress.canonical(address).flatMap(IPAddress.objectionAsSource) != nil)
    let report = MTAConfig.read(
      yaml: """
        api: { master_key: some-master-key }
        bounce: { domain: b.example, verp_key: "0123456789abcdef0123456789abcdef" }
        pools: { transactional: { ips: [127.0.0.21, "\(address)"] } }
        """, environment: [:], hostName: "mta.example", readFile: { _ in nil })
    #expect(report.problems.map(\.key) == ["pools.transactional.ips"] && report.config == nil, "\(report.problems)")
  }

  /// A problem is named by the place where it stands, once.
  @Test(arguments: [
    ("{address: nowhere}", "pools.p.ips[0].address"), ("{ehlo: a.example}", "pools.p.ips[0].address"), ("nowhere", "pools.p.ips"),
    ("{address: 192.0.2.9, public: nowhere}", "pools.p.ips[0].public"), ("{address: 0.0.0.0, ehlo: a.example}", "pools.p.ips[0].address"),
  ])
  func aFaultyAddressIsNamedOnce(entry: String, key: String) {
    let report = MTAConfig.read(
      yaml: """
        api: { master_key: some-master-key }
        bounce: { domain: b.example, verp_key: "0123456789abcdef0123456789abcdef" }
        pools: { p: { ips: [\(entry), 192.0.2.1] } }
        """, environment: [:], hostName: "mta.example", readFile: { _ in nil })
    #expect(report.problems.map(\.key) == [key], "\(report.problems)")
  }

  @Test(arguments: [
    ("/none", false), ("/there", true), (". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D", true),
    ("example. IN A 192.0.2.1", false),
  ])
  func trustAnchorsAreLookedAt(anchor: String, isValid: Bool) {
    let report = MTAConfig.read(
      yaml: """
        api: { master_key: some-master-key }
        bounce: { domain: b.example, verp_key: "0123456789abcdef0123456789abcdef" }
        dns: { trust_anchors: ["\(anchor)"] }
        pools: { p: { ips: [192.0.2.1] } }
        """, environment: [:], hostName: "mta.example", readFile: { $0 == "/there" ? "x" : nil })
    #expect(report.problems.map(\.key) == (isValid ? [] : ["dns.trust_anchors"]), "\(report.problems)")
  }

  @Test func otherAddressesAreSources() {
    for address in ["127.0.0.21", "203.0.113.9", "2001:db8::25", "::1", "fd00::1"] { #expect(IPAddress.objectionAsSource(address) == nil) }
  }
}
