package import MailModel

/// A refusal of a command, as it is answered.
package struct SMTPRefusal: Error, Sendable, Equatable {
  package let reply: SMTPReply

  package init(_ code: Int, _ text: String) { reply = SMTPReply(code: code, lines: [text]) }
}

/// A client's command (RFC 5321 §4.1.1), read strictly: what is not of its form is refused, not guessed.
package enum SMTPCommand: Sendable, Equatable {
  case ehlo(String)
  case helo(String)
  /// The address without angle brackets, empty for the null return-path; parameters by upper-case name.
  case mail(address: String, parameters: [String: String])
  case rcpt(address: String, parameters: [String: String])
  case data, reset, noop, verify, help, quit, startTLS
  case auth(mechanism: String, initial: String?)
  /// Known, and not offered.
  case unimplemented
  case unknown

  /// - Parameter octets: a line without its CRLF.
  package static func parse(_ octets: [UInt8]) throws(SMTPRefusal) -> SMTPCommand {
    guard !octets.contains(where: { $0 < 0x20 || $0 == 0x7F }), let line = String(validating: octets, as: UTF8.self) else {
      throw SMTPRefusal(500, "5.5.2 control characters or broken UTF-8 in a command")
    }
    let verb = line.prefix { $0 != " " }.uppercased()
    var argument = line.dropFirst(verb.count).drop { $0 == " " }
    while argument.last == " " { argument.removeLast() }
    switch verb {
    case "EHLO": return .ehlo(try name(argument))
    case "HELO": return .helo(try name(argument))
    case "MAIL":
      let (address, parameters) = try path(argument, "FROM:")
      guard address.isEmpty || isMailbox(address) else { throw SMTPRefusal(501, "5.1.7 the sender is no address") }
      return .mail(address: address, parameters: parameters)
    case "RCPT":
      let (address, parameters) = try path(argument, "TO:")
      // RFC 5321 §4.5.1: the postmaster of whatever this is.
      guard isMailbox(address) || address.lowercased() == "postmaster" else {
        throw SMTPRefusal(501, "5.1.3 the recipient is no address")
      }
      return .rcpt(address: address, parameters: parameters)
    case "DATA", "RSET", "QUIT", "STARTTLS":
      guard argument.isEmpty else { throw SMTPRefusal(501, "5.5.4 \(verb) takes no argument") }
      return verb == "DATA" ? .data : verb == "RSET" ? .reset : verb == "QUIT" ? .quit : .startTLS
    case "NOOP": return .noop
    case "VRFY": return .verify
    case "HELP": return .help
    case "AUTH":
      let words = argument.split(separator: " ")
      guard (1...2).contains(words.count) else { throw SMTPRefusal(501, "5.5.4 AUTH mechanism [initial-response]") }
      return .auth(mechanism: words[0].uppercased(), initial: words.count > 1 ? String(words[1]) : nil)
    case "EXPN", "TURN", "ETRN", "BDAT", "SEND", "SOML", "SAML", "BURL": return .unimplemented
    default: return .unknown
    }
  }

  private static func name(_ argument: Substring) throws(SMTPRefusal) -> String {
    guard (1...255).contains(argument.utf8.count), !argument.contains(" ") else {
      throw SMTPRefusal(501, "5.5.4 a host name is needed")
    }
    return String(argument)
  }

  /// `FROM:<path> [name[=value] …]`.
  private static func path(_ argument: Substring, _ keyword: String) throws(SMTPRefusal) -> (String, [String: String]) {
    guard argument.prefix(keyword.count).uppercased() == keyword else { throw SMTPRefusal(501, "5.5.4 \(keyword)<address> is needed") }
    let rest = argument.dropFirst(keyword.count).drop { $0 == " " }
    guard rest.first == "<", let close = closing(rest) else { throw SMTPRefusal(501, "5.5.4 \(keyword)<address> is needed") }
    var address = rest[rest.index(after: rest.startIndex)..<close]
    // A source route is read over (RFC 5321 §4.1.1.3).
    if address.first == "@", let colon = address.firstIndex(of: ":") { address = address[address.index(after: colon)...] }
    let tail = rest[rest.index(after: close)...]
    guard tail.isEmpty || tail.first == " " else { throw SMTPRefusal(501, "5.5.4 a space is needed before parameters") }
    var parameters: [String: String] = [:]
    for word in tail.split(separator: " ") {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = parts[0].uppercased()
      guard !name.isEmpty, parameters[name] == nil else { throw SMTPRefusal(501, "5.5.4 a parameter is malformed or given twice") }
      parameters[name] = parts.count > 1 ? String(parts[1]) : ""
    }
    return (String(address), parameters)
  }

  /// The first `>` outside quotes.
  private static func closing(_ text: Substring) -> Substring.Index? {
    var isQuoted = false
    var isEscaped = false
    for index in text.indices {
      switch text[index] {
      case _ where isEscaped: isEscaped = false
      case "\\" where isQuoted: isEscaped = true
      case "\"": isQuoted.toggle()
      case ">" where !isQuoted: return index
      default: continue
      }
    }
    return nil
  }

  /// Mailbox of RFC 5321 §4.1.2, with the sizes of §4.5.3.1; quoted local parts and address literals included.
  static func isMailbox(_ text: String) -> Bool {
    guard text.utf8.count <= 320 else { return false }
    let local: Substring
    let domain: Substring
    if text.hasPrefix("\"") {
      guard let end = quotedEnd(text), end < text.endIndex, text[end] == "@" else { return false }
      local = text[..<end]
      domain = text[text.index(after: end)...]
    } else {
      guard let at = text.lastIndex(of: "@") else { return false }
      local = text[..<at]
      domain = text[text.index(after: at)...]
      guard !local.isEmpty, !local.contains(where: { " \"<>()[]:;,\\@".contains($0) }) else { return false }
    }
    guard local.utf8.count <= 64 else { return false }
    if domain.hasPrefix("["), domain.hasSuffix("]") {
      return domain.utf8.dropFirst().dropLast().allSatisfy { (0x21...0x5A).contains($0) || (0x5E...0x7E).contains($0) }
    }
    return DomainName.ascii(domain).map(DomainName.isHostName) ?? false
  }

  /// Behind the closing quote.
  private static func quotedEnd(_ text: String) -> String.Index? {
    var isEscaped = false
    for index in text.indices.dropFirst() {
      if isEscaped {
        isEscaped = false
      } else if text[index] == "\\" {
        isEscaped = true
      } else if text[index] == "\"" {
        return text.index(after: index)
      }
    }
    return nil
  }
}
