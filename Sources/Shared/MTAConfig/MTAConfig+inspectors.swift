internal import Foundation
package import MailModel

extension MTAConfig {
  /// A program that judges mail before it is accepted (configuration `inspectors`).
  package struct Inspector: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
      case rspamd, spamassassin, clamav
    }

    /// What its absence means: mail passes unseen, or none is accepted.
    package enum Failure: String, Sendable, CaseIterable {
      case open, closed
    }

    package enum Address: Sendable, Equatable {
      case tcp(host: String, port: Int)
      case unix(String)
    }

    package var kind: Kind
    package var address: Address
    /// Of an HTTP address, without the last slash.
    package var path = ""
    /// A higher score is a rejection. Nil = the inspector's own word alone.
    package var rejectAbove: Double?
    package var timeout: Milliseconds = 5000
    package var failure = Failure.open

    package init(kind: Kind, address: Address) {
      self.kind = kind
      self.address = address
    }
  }

  /// Upstream's `RSPAMD_REJECT_THRESHOLD`.
  static let rspamdThreshold = 15.0

  mutating func readInspectors(_ reader: inout ConfigReader) {
    for (index, node) in (reader.list("inspectors") ?? []).enumerated() {
      reader.item(node, "inspectors[\(index)]") { item in
        let name = item.text("kind", "")
        let url = item.text("url", "")
        let above = item.number("reject_above", -10_000...10_000, .nan)
        let timeout = item.duration("timeout", 100...60_000, 5000)
        let failure = item.choice("fail", Inspector.Failure.open)
        guard let kind = Inspector.Kind(rawValue: name) else {
          return item.problem("kind", "must be rspamd, spamassassin or clamav", line: node.line)
        }
        guard let (address, path) = Self.inspectorAddress(kind, url) else {
          return item.problem("url", "must be \(Self.urlForm(kind))", line: node.line)
        }
        if kind == .clamav, !above.isNaN { item.problem("reject_above", "has no meaning for clamav, which knows no score") }
        var inspector = Inspector(kind: kind, address: address)
        inspector.path = path
        inspector.rejectAbove = above.isNaN ? (kind == .rspamd ? Self.rspamdThreshold : nil) : above
        inspector.timeout = timeout
        inspector.failure = failure
        inspectors.append(inspector)
      }
    }
  }

  private static func urlForm(_ kind: Inspector.Kind) -> String {
    switch kind {
    case .rspamd: "http://host:port of rspamd's normal worker (it speaks no TLS)"
    case .spamassassin: "tcp://host:port of spamd"
    case .clamav: "tcp://host:port or unix:/path of clamd"
    }
  }

  private static func inspectorAddress(_ kind: Inspector.Kind, _ text: String) -> (Inspector.Address, path: String)? {
    if kind == .clamav, text.hasPrefix("unix:") {
      let rest = text.dropFirst("unix:".count)
      let path = String(rest.hasPrefix("//") ? rest.dropFirst(2) : rest)
      // sun_path holds 108 octets with its end.
      return path.hasPrefix("/") && path.utf8.count < 108 ? (.unix(path), "") : nil
    }
    let (scheme, port) =
      switch kind {
      case .rspamd: ("http", 11333)
      case .spamassassin: ("tcp", 783)
      case .clamav: ("tcp", 3310)
      }
    guard let url = URLComponents(string: text), url.scheme == scheme, var host = url.host, !host.isEmpty, url.user == nil,
      url.password == nil, url.query == nil, url.fragment == nil, kind == .rspamd || url.path.isEmpty || url.path == "/",
      url.path.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
    else { return nil }
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    var path = url.path
    while path.hasSuffix("/") { path.removeLast() }
    let number = url.port ?? port
    return (1...65535).contains(number) ? (.tcp(host: host, port: number), path) : nil
  }
}
