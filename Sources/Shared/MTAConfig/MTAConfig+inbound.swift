internal import Foundation

extension MTAConfig {
  /// Where SMTP comes in.
  package struct Listen: Sendable, Equatable {
    package var host: String
    package var port: Int
    /// TLS from the first octet (RFC 8314 §3.3) instead of STARTTLS.
    package var isImplicitTLS: Bool

    package init(host: String, port: Int, isImplicitTLS: Bool = false) {
      self.host = host
      self.port = port
      self.isImplicitTLS = isImplicitTLS
    }
  }

  /// PEM files; read at start and again when they change.
  package struct TLSFiles: Sendable, Equatable {
    package var certificate: String
    package var key: String

    package init(certificate: String, key: String) {
      self.certificate = certificate
      self.key = key
    }
  }

  /// `listen` is a list of `address:port` or `{address: "address:port", tls: starttls | implicit}`; without `tls`, port 465 is
  /// implicit.
  mutating func readInbound(_ reader: inout ConfigReader) {
    bounce.tls = Self.tlsFiles(&reader, "bounce.tls")
    bounce.listen = Self.listens(&reader, "bounce.listen")
    if bounce.listen.isEmpty, let text = reader.optionalUpstream("BOUNCE_PORT") {
      if let port = Int(text), (1...65535).contains(port) {
        bounce.listen = [Listen(host: "0.0.0.0", port: port)]
      } else {
        reader.problem("bounce.listen", "from BOUNCE_PORT must be a port")
      }
    }
    for listen in bounce.listen where listen.isImplicitTLS {
      reader.problem("bounce.listen", "\(listen.host):\(listen.port) cannot have implicit TLS: mail servers know STARTTLS only")
    }
    submission.tls = Self.tlsFiles(&reader, "submission.tls")
    submission.listen = Self.listens(&reader, "submission.listen")
    if !submission.listen.isEmpty, submission.tls == nil { reader.problem("submission.tls", "is required with submission.listen") }
  }

  private static func tlsFiles(_ reader: inout ConfigReader, _ key: String) -> TLSFiles? {
    let certificate = reader.text(key + ".cert", "")
    let privateKey = reader.text(key + ".key", "")
    guard !certificate.isEmpty || !privateKey.isEmpty else { return nil }
    guard !certificate.isEmpty, !privateKey.isEmpty else {
      reader.problem(key, "needs both cert and key")
      return nil
    }
    return TLSFiles(certificate: certificate, key: privateKey)
  }

  private static func listens(_ reader: inout ConfigReader, _ key: String) -> [Listen] {
    var result: [Listen] = []
    for (index, node) in reader.items(key).enumerated() {
      var text = ""
      var mode = ""
      switch node {
      case .scalar(let scalar, _): text = scalar
      case .map:
        reader.item(node, "\(key)[\(index)]") { item in
          text = item.text("address", "")
          mode = item.text("tls", "")
          if !["", "starttls", "implicit"].contains(mode) { item.problem("tls", "must be starttls or implicit", line: node.line) }
        }
      case .list: break
      }
      guard let (host, port) = listenAddress(text) else {
        reader.problem(key, "\(text) must be address:port", line: node.line)
        continue
      }
      result.append(Listen(host: host, port: port, isImplicitTLS: mode == "implicit" || (mode.isEmpty && port == 465)))
    }
    return result
  }
}
