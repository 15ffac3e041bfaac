package import MailModel

/// What a server offers and allows in one session.
package struct SMTPServerPolicy: Sendable {
  package var hostName: String
  /// After `220 `: the host's name first.
  package var banner: String
  /// Octets of a message (RFC 1870).
  package var maxSize = 10 << 20
  package var maxRecipients = 100
  package var maxCommands = 1000
  /// Commands that were refused for their form or order; then 421.
  package var maxBadCommands = 25
  package var maxTransactions = 25
  package var offersTLS = false
  /// Nothing but EHLO, NOOP, RSET, QUIT and STARTTLS before it.
  package var requiresTLS = false
  /// AUTH is offered inside TLS, and needed for mail (RFC 4954).
  package var requiresAuthentication = false
  /// Parameters of MAIL beyond the standard's that the receiver understands, in upper case; told in the EHLO reply.
  package var parameters: [String] = []

  package init(hostName: String, banner: String) {
    self.hostName = hostName
    self.banner = banner
  }
}

/// One mail as its envelope tells it.
package struct SMTPTransaction: Sendable, Equatable {
  package var returnPath: String
  package var recipients: [String] = []
  /// Of MAIL, by upper-case name.
  package var parameters: [String: String]

  package var isInternationalised: Bool { parameters["SMTPUTF8"] != nil }
}

/// The server's side of a dialogue (RFC 5321 §4.1.4), without I/O: a line in, what to do out. Whoever runs it answers
/// ``Step/askSender(_:)``, ``Step/askRecipient(_:)``, ``Step/authenticate(user:password:)``, ``Step/beginContent`` and ``Step/startTLS`` by the function
/// of that name before the next line.
package struct SMTPServerSession: Sendable {
  package enum Step: Sendable, Equatable {
    case reply(SMTPReply)
    case replyAndClose(SMTPReply)
    /// Then ``senderAnswered(_:)``.
    case askSender(SMTPTransaction)
    /// Then ``recipientAnswered(_:)``.
    case askRecipient(String)
    /// Then ``authenticated(_:)``.
    case authenticate(user: String, password: String)
    /// Say 354, read content, then ``contentEnded()``.
    case beginContent
    /// Say 220, then ``tlsEstablished(_:)``.
    case startTLS
  }

  private enum AuthStage { case none, plain, loginUser, loginPassword(String) }

  package let policy: SMTPServerPolicy
  package private(set) var clientName: String?
  package private(set) var isExtended = false
  /// `TLSv1.3` and the like.
  package private(set) var tlsVersion: String?
  package private(set) var isAuthenticated = false
  package private(set) var transaction: SMTPTransaction?
  private var askedSender: SMTPTransaction?
  private var asked: String?
  private var authStage = AuthStage.none
  private var commands = 0
  private var badCommands = 0
  private var transactions = 0

  package init(_ policy: SMTPServerPolicy) { self.policy = policy }

  package var greeting: SMTPReply { SMTPReply(code: 220, lines: [policy.banner]) }

  // MARK: what happened meanwhile

  /// What was learnt before is forgotten (RFC 3207 §4.2).
  package mutating func tlsEstablished(_ version: String) {
    tlsVersion = version
    clientName = nil
    isExtended = false
    transaction = nil
  }

  /// - Parameter refusal: nil when the sender may go on.
  package mutating func senderAnswered(_ refusal: SMTPReply?) -> Step {
    defer { askedSender = nil }
    if let refusal { return refusal.isPermanent ? bad(refusal) : .reply(refusal) }
    transaction = askedSender
    return .reply(Self.reply(250, "2.1.0 ok"))
  }

  /// - Parameter refusal: nil when the recipient is accepted.
  package mutating func recipientAnswered(_ refusal: SMTPReply?) -> Step {
    guard let address = asked else { return .reply(Self.reply(451, "4.3.0 try again")) }
    asked = nil
    if let refusal { return refusal.isPermanent ? bad(refusal) : .reply(refusal) }
    transaction?.recipients.append(address)
    return .reply(Self.reply(250, "2.1.5 ok"))
  }

  /// - Parameter refusal: nil when the password is right.
  package mutating func authenticated(_ refusal: SMTPReply?) -> Step {
    if let refusal { return bad(refusal) }
    isAuthenticated = true
    return .reply(Self.reply(235, "2.7.0 authenticated"))
  }

  /// The transaction whose content was read; the session is ready for the next.
  package mutating func contentEnded() -> SMTPTransaction {
    defer { transaction = nil }
    return transaction ?? SMTPTransaction(returnPath: "", parameters: [:])
  }

  // MARK: lines

  /// - Parameter line: octets without CRLF.
  package mutating func receive(_ line: [UInt8]) -> Step {
    commands += 1
    guard commands <= policy.maxCommands else { return .replyAndClose(Self.reply(421, "4.7.0 too many commands")) }
    if case .none = authStage {} else { return continueAuthentication(line) }
    do { return try perform(try SMTPCommand.parse(line)) } catch { return bad(error.reply) }
  }

  private mutating func perform(_ command: SMTPCommand) throws(SMTPRefusal) -> Step {
    switch command {
    case .ehlo(let name): return .reply(hello(name, isExtended: true))
    case .helo(let name): return .reply(hello(name, isExtended: false))
    case .quit: return .replyAndClose(Self.reply(221, "2.0.0 bye"))
    case .noop: return .reply(Self.reply(250, "2.0.0 ok"))
    case .reset:
      transaction = nil
      return .reply(Self.reply(250, "2.0.0 ok"))
    case .help: return .reply(Self.reply(214, "2.0.0 RFC 5321"))
    case .startTLS: return try startTLS()
    case .unknown: throw SMTPRefusal(500, "5.5.1 no such command")
    case .unimplemented: throw SMTPRefusal(502, "5.5.1 not offered")
    default: break
    }
    if policy.requiresTLS, tlsVersion == nil {
      if case .auth = command { throw SMTPRefusal(538, "5.7.11 encryption is required: STARTTLS first") }
      throw SMTPRefusal(530, "5.7.0 encryption is required: STARTTLS first")
    }
    switch command {
    case .verify: return .reply(Self.reply(252, "2.5.2 send mail and see"))
    case .auth(let mechanism, let initial): return try beginAuthentication(mechanism, initial)
    case .mail(let address, let parameters): return try mail(address, parameters)
    case .rcpt(let address, let parameters): return try rcpt(address, parameters)
    case .data:
      guard let transaction else { throw SMTPRefusal(503, "5.5.1 MAIL first") }
      guard !transaction.recipients.isEmpty else { throw SMTPRefusal(554, "5.5.1 no valid recipients") }
      return .beginContent
    default: throw SMTPRefusal(500, "5.5.1 no such command")
    }
  }

  private mutating func hello(_ name: String, isExtended: Bool) -> SMTPReply {
    clientName = name
    self.isExtended = isExtended
    transaction = nil
    guard isExtended else { return SMTPReply(code: 250, lines: [policy.hostName]) }
    var lines = [policy.hostName, "PIPELINING", "SIZE \(policy.maxSize)", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    if policy.offersTLS, tlsVersion == nil { lines.append("STARTTLS") }
    if policy.requiresAuthentication, tlsVersion != nil { lines.append("AUTH PLAIN LOGIN") }
    lines += policy.parameters
    return SMTPReply(code: 250, lines: lines)
  }

  private mutating func startTLS() throws(SMTPRefusal) -> Step {
    guard policy.offersTLS else { throw SMTPRefusal(502, "5.5.1 not offered") }
    guard tlsVersion == nil else { throw SMTPRefusal(503, "5.5.1 TLS is on already") }
    guard clientName != nil else { throw SMTPRefusal(503, "5.5.1 EHLO first") }
    return .startTLS
  }

  private mutating func mail(_ address: String, _ parameters: [String: String]) throws(SMTPRefusal) -> Step {
    guard clientName != nil else { throw SMTPRefusal(503, "5.5.1 EHLO or HELO first") }
    guard !policy.requiresAuthentication || isAuthenticated else { throw SMTPRefusal(530, "5.7.0 authentication is required") }
    guard transaction == nil else { throw SMTPRefusal(503, "5.5.1 a transaction is open: RSET first") }
    for (name, value) in parameters { try check(name, value) }
    guard parameters["SMTPUTF8"] != nil || address.utf8.allSatisfy({ $0 < 0x80 }) else {
      throw SMTPRefusal(553, "5.6.7 SMTPUTF8 is needed for this sender")
    }
    transactions += 1
    guard transactions <= policy.maxTransactions else { throw SMTPRefusal(452, "4.5.3 too many messages in this session") }
    let sender = SMTPTransaction(returnPath: address, parameters: parameters)
    askedSender = sender
    return .askSender(sender)
  }

  private func check(_ name: String, _ value: String) throws(SMTPRefusal) {
    switch name {
    case "SIZE":
      guard (1...20).contains(value.utf8.count), value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
        throw SMTPRefusal(501, "5.5.4 SIZE must be a number")
      }
      guard let size = Int(value), size <= policy.maxSize else {
        throw SMTPRefusal(552, "5.3.4 the limit is \(policy.maxSize) octets")
      }
    case "BODY":
      guard ["7BIT", "8BITMIME"].contains(value.uppercased()) else { throw SMTPRefusal(501, "5.5.4 BODY must be 7BIT or 8BITMIME") }
    case "SMTPUTF8" where value.isEmpty: break
    case "AUTH" where policy.requiresAuthentication: break
    case _ where policy.parameters.contains(name): break
    default: throw SMTPRefusal(555, "5.5.4 \(name.prefix(32)) is not a parameter here")
    }
  }

  private mutating func rcpt(_ address: String, _ parameters: [String: String]) throws(SMTPRefusal) -> Step {
    guard let transaction else { throw SMTPRefusal(503, "5.5.1 MAIL first") }
    guard parameters.isEmpty else { throw SMTPRefusal(555, "5.5.4 parameters of RCPT are not offered") }
    guard transaction.isInternationalised || address.utf8.allSatisfy({ $0 < 0x80 }) else {
      throw SMTPRefusal(553, "5.6.7 SMTPUTF8 is needed for this recipient")
    }
    guard transaction.recipients.count < policy.maxRecipients else {
      return .reply(Self.reply(452, "4.5.3 too many recipients: the rest in another message"))
    }
    asked = address
    return .askRecipient(address)
  }

  /// Every refusal for good counts: a client that only ever hears no is guessing.
  private mutating func bad(_ reply: SMTPReply) -> Step {
    badCommands += 1
    guard badCommands <= policy.maxBadCommands else { return .replyAndClose(Self.reply(421, "4.7.0 too many errors")) }
    return .reply(reply)
  }

  // MARK: authentication (RFC 4954, RFC 4616)

  private mutating func beginAuthentication(_ mechanism: String, _ initial: String?) throws(SMTPRefusal) -> Step {
    guard policy.requiresAuthentication else { throw SMTPRefusal(502, "5.5.1 not offered") }
    guard tlsVersion != nil else { throw SMTPRefusal(538, "5.7.11 encryption is required: STARTTLS first") }
    guard isExtended else { throw SMTPRefusal(503, "5.5.1 EHLO first") }
    guard !isAuthenticated, transaction == nil else { throw SMTPRefusal(503, "5.5.1 not now") }
    switch mechanism {
    case "PLAIN": authStage = .plain
    case "LOGIN": authStage = .loginUser
    default: throw SMTPRefusal(504, "5.5.4 PLAIN or LOGIN")
    }
    // "=" is an empty initial response.
    if let initial { return continueAuthentication(Array((initial == "=" ? "" : initial).utf8)) }
    return .reply(SMTPReply(code: 334, lines: [mechanism == "PLAIN" ? "" : "VXNlcm5hbWU6"]))
  }

  private mutating func continueAuthentication(_ line: [UInt8]) -> Step {
    let stage = authStage
    authStage = .none
    if line == [0x2A] { return bad(Self.reply(501, "5.7.0 cancelled")) }
    guard let octets = SASLBase64.decode(line), let text = String(validating: octets, as: UTF8.self) else {
      return bad(Self.reply(501, "5.5.2 not base64 of UTF-8"))
    }
    switch stage {
    case .none: return bad(Self.reply(503, "5.5.1 AUTH first"))
    case .plain:
      let parts = text.split(separator: "\0", omittingEmptySubsequences: false)
      guard parts.count == 3 else { return bad(Self.reply(501, "5.5.2 not of the form of PLAIN")) }
      return .authenticate(user: String(parts[1]), password: String(parts[2]))
    case .loginUser:
      authStage = .loginPassword(text)
      return .reply(SMTPReply(code: 334, lines: ["UGFzc3dvcmQ6"]))
    case .loginPassword(let user): return .authenticate(user: user, password: text)
    }
  }

  private static func reply(_ code: Int, _ text: String) -> SMTPReply { SMTPReply(code: code, lines: [text]) }
}

/// Base64 of RFC 4648 §4, strict.
enum SASLBase64 {
  static func decode(_ text: [UInt8]) -> [UInt8]? {
    guard text.count % 4 == 0 else { return nil }
    let padding = text.reversed().prefix { $0 == 0x3D }.count
    guard padding <= 2 else { return nil }
    var output: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for octet in text.dropLast(padding) {
      guard let value = value(octet) else { return nil }
      bits = (bits << 6 | UInt32(value)) & 0xFF_FFFF
      count += 6
      if count >= 8 {
        count -= 8
        output.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return output
  }

  private static func value(_ octet: UInt8) -> UInt8? {
    switch octet {
    case 0x41...0x5A: octet - 0x41
    case 0x61...0x7A: octet - 0x61 + 26
    case 0x30...0x39: octet - 0x30 + 52
    case 0x2B: 62
    case 0x2F: 63
    default: nil
    }
  }
}
