import ArgumentParser
import Foundation
import MTAConfig

struct CheckConfig: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check-config", abstract: "Check the configuration; every problem at once.",
    discussion: """
      Exits 0 when it is valid, 1 when not. Nothing needs to run; certificates and keys that it names are opened, so call it as the \
      user that the supervisor runs as, or as root.

      Example: supervisor check-config --config new.yaml
      """)
  @OptionGroup var common: CommonOptions

  func run() {
    var report = ConfigSource(path: common.configPath).read()
    if let config = report.draft { report.problems += Self.unusableFiles(config) }
    if common.json {
      struct Document: Encodable {
        struct Item: Encodable {
          var key: String
          var line: Int?
          var text: String
        }
        var valid: Bool
        var problems: [Item]
        var notices: [Item]
      }
      func items(_ list: [ConfigProblem]) -> [Document.Item] { list.map { .init(key: $0.key, line: $0.line, text: $0.text) } }
      let document = Document(
        valid: report.problems.isEmpty, problems: items(report.problems), notices: items(report.notices))
      if let data = try? JSONEncoder().encode(document) { print(String(decoding: data, as: UTF8.self)) }
    } else {
      for notice in report.notices { print("notice: \(notice)") }
      if report.problems.isEmpty { print("\(common.configPath): valid") }
    }
    guard !report.problems.isEmpty else { return }
    if !common.json {
      for problem in report.problems.dropLast() { FileHandle.standardError.write(Data("\(problem)\n".utf8)) }
    }
    CommandFault(code: 1, text: report.problems.last.map { "\($0)" } ?? "").leave()
  }

  /// What a start would stumble over.
  private static func unusableFiles(_ config: MTAConfig) -> [ConfigProblem] {
    [("bounce.tls", config.bounce.tls), ("submission.tls", config.submission.tls)].compactMap { key, files in
      guard let files else { return nil }
      do { _ = try InboundService.context(files) } catch { return ConfigProblem(key: key, line: nil, text: "\(error)") }
      return nil
    }
  }
}

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "How the running supervisor is.",
    discussion: "Counts are since its start, but for what is queued and what waits for webhooks.")
  @OptionGroup var common: CommonOptions

  func run() {
    withFaults {
      let document = try common.ask("status")
      if common.json { return print(document) }
      let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
      for key in value.keys.sorted() { print("\(key): \(Table.text(value[key]))") }
    }
  }
}

struct IPCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ip", abstract: "Dedicated IPs and their workers.",
    subcommands: [List.self, Add.self, Remove.self, Drain.self, Pull.self, Restore.self, Warming.self])

  static func show(_ document: String, _ json: Bool) {
    if json { return print(document) }
    Table.print(
      json: document,
      [
        ("ADDRESS", "address"), ("POOL", "pool"), ("STATE", "state"), ("PID", "pid"), ("EHLO", "ehlo"), ("SINCE", "since"),
        ("REASON", "reason"),
      ])
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Every IP, its state and its worker.",
      discussion: "States: provisioned, warming, active, draining, pulled, probation.")
    @OptionGroup var common: CommonOptions

    func run() { withFaults { IPCommand.show(try common.ask("ip list"), common.json) } }
  }

  struct Warming: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put an IP on a day of the warming schedule, or back to its start.",
      discussion: "An IP that was warmed elsewhere need not begin at day 1.\n\nExample: supervisor ip warming 203.0.113.7 --day 10")
    @Argument(help: "The address.") var address: String
    @Option(help: "The day, 1 to 365; from day 30 on the IP has no cap.") var day: Int?
    @Flag(help: "Begin again with day 1.") var reset = false
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        guard (day != nil) != reset, day.map({ (1...365).contains($0) }) ?? true else {
          throw CommandFault(code: 2, text: "give --day 1 to 365, or --reset")
        }
        IPCommand.show(try common.ask("ip warming", ["address": address, "day": day.map(String.init)]), common.json)
      }
    }
  }

  struct Pull: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take an IP out: its worker drains and stops, its mail goes back to the queue.",
      discussion: "It stays out over restarts, until ip restore.\n\nExample: supervisor ip pull 203.0.113.7 --reason \"listed\"")
    @Argument(help: "The address.") var address: String
    @Option(help: "Why, for `ip list`.") var reason: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults { IPCommand.show(try common.ask("ip pull", ["address": address, "reason": reason]), common.json) }
    }
  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Bring a pulled IP back.", discussion: "Its worker starts at once and takes mail when it is up.")
    @Argument(help: "The address.") var address: String
    @OptionGroup var common: CommonOptions

    func run() { withFaults { IPCommand.show(try common.ask("ip restore", ["address": address]), common.json) } }
  }
}

struct DKIMCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dkim", abstract: "DKIM keys by domain.", subcommands: [Add.self, List.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a domain's key, or set one from a file; prints the DNS record to publish.",
      discussion: """
        Without --key a domain that has a key keeps it; with it the key of that kind is replaced. An Ed25519 key stands beside the \
        RSA key.

        Example: supervisor dkim add example.net
        """)
    @Argument(help: "The domain.") var domain: String
    @Option(help: "Selector of a key that is made or set.") var selector: String?
    @Option(help: "File with an RSA or Ed25519 private key in PEM; without it an RSA key is made.") var key: String?
    @Option(help: "Organization whose mail alone the key signs; without it the owner stays, and a key without one signs for all.")
    var org: String?
    @Flag(help: "Takes the owner off.") var shared = false
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        if shared, org != nil { throw CommandFault(code: 2, text: "--org or --shared, not both") }
        var pem: String?
        if let key {
          guard let text = try? String(contentsOfFile: key, encoding: .utf8) else {
            throw CommandFault(code: 2, text: "\(key) cannot be read")
          }
          pem = text
        }
        let document = try common.ask(
          "dkim add", ["domain": domain, "selector": selector, "pem": pem, "org": org, "shared": shared ? "true" : nil])
        if common.json { return print(document) }
        let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
        print("\(Table.text(value["dnsName"])) IN TXT \"\(Table.text(value["dnsRecord"]))\"")
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Domains that have a key.", discussion: "Mail is sent for these only. Private keys are never shown.")
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("dkim list")
        if common.json { return print(document) }
        Table.print(
          json: document,
          [
            ("DOMAIN", "domain"), ("SELECTOR", "selector"), ("ED25519", "ed25519Selector"), ("ORG", "organizationId"), ("ADDED", "addedAt"),
            ("ROTATED", "rotatedAt"),
          ])
      }
    }
  }
}

struct SendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send", abstract: "Queue one message, to try things out.",
    discussion: "Example: supervisor send --to you@example.org --from 'News <news@example.net>'")
  @Option(help: "Recipient.") var to: String
  @Option(help: "Author, `Name <address>`.") var from: String
  @Option(help: "Subject.") var subject = "Test"
  @Option(help: "Plain text; - reads standard input.") var text = "Hello from Owlat MTA.\n"
  @Option(help: "HTML.") var html: String?
  @Option(help: "Pool.") var pool = "transactional"
  @Option(help: "Organization.") var org = "operator"
  @Option(help: "DKIM domain (default: the author's).") var dkimDomain: String?
  @Option(help: "Message id (default: a new one).") var id: String?
  @OptionGroup var common: CommonOptions

  func run() {
    withFaults {
      let content = text == "-" ? String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self) : text
      let domain = from.split(separator: "@").last.map { $0.replacing(">", with: "") } ?? ""
      var body: [String: Any] = [
        "messageId": id ?? "cli-\(UUID().uuidString.lowercased())", "to": to, "from": from, "subject": subject,
        "text": content, "ipPool": pool, "organizationId": org, "dkimDomain": dkimDomain ?? domain,
      ]
      if let html { body["html"] = html }
      let json = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
      let document = try common.ask("send", ["body": json])
      if common.json { return print(document) }
      let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
      print("queued \(Table.text(value["id"]))")
    }
  }
}
