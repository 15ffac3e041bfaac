import Logging
import MIME
import MTAConfig
import MailFormat
import MailModel
import Redis
import SMTPProtocol
import SMTPServer

/// Mail of clients over SMTP (RFC 6409): a key's organisation, one message for each recipient, the octets kept whole, the same
/// checks and the same intake as `/send`. 250 means: durably accepted, all of them.
struct SubmissionReceiver: MailReceiver {
  static let maxSize = 25 << 20

  let config: MTAConfig
  let send: SendHandler
  let credentials: Credentials
  let store: QueueStore
  let rate: RequestRate
  let log: Logger
  let clock: WallClock
  private let failures = AuthenticationFailures()

  init(config: MTAConfig, send: SendHandler, credentials: Credentials, store: QueueStore, log: Logger, clock: @escaping WallClock) {
    self.config = config
    self.send = send
    self.credentials = credentials
    self.store = store
    self.log = log
    self.clock = clock
    rate = RequestRate(perSecond: config.limits.apiRatePerKey)
  }

  /// The key is the password; the user name is not looked at.
  func authenticate(user: String, password: String, session: InboundSession) async -> AuthenticationAnswer {
    let now = clock()
    guard !failures.isBlocked(session.peer, now: now) else {
      return .refused(Self.reply(454, "4.7.0 too many wrong passwords from your address, try again later"))
    }
    if Digest.isEqual(Digest.sha256(Array(password.utf8)), Digest.sha256(Array(config.api.masterKey.utf8))) {
      return .ok(InboundAccount(organisation: Organisation.master, keyID: Credentials.id(password)))
    }
    do {
      if let organisation = try await credentials.principal(password)?.scope {
        // A key of another version's, or one that was brought over.
        if let objection = Organisation.objection(organisation) {
          return .refused(Self.reply(535, "5.7.8 the key's organizationId \(objection)"))
        }
        return .ok(InboundAccount(organisation: organisation, keyID: Credentials.id(password)))
      }
    } catch { return .refused(Self.reply(454, "4.7.0 keys cannot be looked up now, try again later")) }
    failures.note(session.peer, now: now)
    log.info("submission with a wrong key")
    return .refused(Self.reply(535, "5.7.8 no such key: the password is an API key"))
  }

  func refusal(of sender: SMTPSender, session: InboundSession) async -> SMTPReply? {
    if let refusal = send.admission.refusal { return Self.reply(refusal) }
    do { try SubmissionIdentity.check(sender.parameters) } catch { return error.reply }
    if let wait = session.account.flatMap({ rate.refusal($0.keyID) }) {
      return Self.reply(451, "4.7.1 too many messages, try again in \(wait) seconds")
    }
    return nil
  }

  func accepts(recipient: String, session: InboundSession) async -> RecipientAnswer {
    guard EmailAddress(recipient) != nil else { return .refused(Self.reply(553, "5.1.3 mail cannot be sent to this address")) }
    return .ok
  }

  func received(_ mail: ReceivedMail) async -> SMTPReply {
    do { return try await accept(mail) } catch let refusal as SMTPRefusal { return refusal.reply } catch let error as APIError {
      return Self.reply(error)
    } catch is RedisError { return Self.reply(Intake.away) } catch {
      log.error("submission failed", metadata: ["error": "\(error)"])
      return Self.reply(451, "4.3.0 try again later")
    }
  }

  // MARK: one message

  private func accept(_ mail: ReceivedMail) async throws -> SMTPReply {
    if let refusal = send.admission.refusal { throw refusal }
    guard let account = mail.session.account else { throw SMTPRefusal(530, "5.7.0 authentication is required") }
    let organisation = account.organisation
    let octets = try mail.content.octets()
    let message = try SubmittedMessage(octets)
    guard !message.isInternationalised || mail.parameters["SMTPUTF8"] != nil else {
      throw SMTPRefusal(554, "5.6.7 the header has octets beyond ASCII: SMTPUTF8 is needed")
    }
    let identity = try SubmissionIdentity(organisation: organisation, message: message, parameters: mail.parameters)
    let (dkimDomain, returnPathHost) = try await authorise(message, account)
    try await screen(octets, message, dkimDomain)
    var content = MessageContent(
      authorName: message.author.name, authorAddress: message.author.address.description, subject: message.subject)
    content.sealed = message.complete(id: identity.submission, host: config.hostname, now: mail.receivedAt)
    let packed = Intake.pack(content)
    var batch: [Intake.Ready] = []
    for recipient in Self.addresses(mail.recipients) {
      let submission = try await submission(organisation, recipient, identity, message, dkimDomain, content)
      batch.append(
        Intake.Ready(
          submission: submission, hash: packed.hash, packed: batch.isEmpty ? packed.octets : [], size: packed.size,
          returnPathHost: returnPathHost))
    }
    try await refuseConflicts(batch)
    if let first = batch.first, !send.inspectors.isEmpty, let objection = try await send.inspectors.objection(to: first) {
      throw SMTPRefusal(554, "5.7.1 Content screening rejected the message: \(objection)")
    }
    return reply(to: await submit(batch), batch, identity)
  }

  /// One alone shares its durable write with requests that come at the same time; several have one of their own, all or none.
  private func submit(_ batch: [Intake.Ready]) async -> [IntakeAnswer] {
    guard batch.count == 1 else { return await send.intake.submit(slice: batch, sharedContent: nil) }
    await send.intake.arrived()
    return [await send.intake.submit(batch[0])]
  }

  private func submission(
    _ organisation: String, _ recipient: EmailAddress, _ identity: SubmissionIdentity, _ message: SubmittedMessage, _ dkimDomain: String,
    _ content: MessageContent
  ) async throws -> Submission {
    let names = config.pools.map(\.name)
    let pool = names.contains("transactional") ? "transactional" : names.first ?? ""
    var submission = Submission(
      messageID: identity.messageID(recipient), workAttemptID: identity.attemptID(recipient), organisation: organisation,
      recipient: recipient, pool: pool, dkimDomain: dkimDomain, content: content, messageIDField: message.messageIDField, tags: [],
      band: PriorityBand(engagementScore: nil), deliveryDomain: "production")
    try await send.route(&submission)
    return submission
  }

  /// - Returns: the author's domain, or the one above it that has a key, which signs.
  private func authorise(_ message: SubmittedMessage, _ account: InboundAccount) async throws -> (domain: String, returnPathHost: String?) {
    var principal = Principal.master
    if account.organisation != Organisation.master {
      // Sessions last: a key that was taken back or limited meanwhile is.
      guard let now = try await credentials.principal(id: account.keyID) else { throw SMTPRefusal(550, "5.7.8 the API key is no more") }
      principal = now
    }
    let author = message.author.address.domain
    let signing = try await send.keys.nearest(author)
    if let objection = try await SenderRights(keys: send.keys).objection(
      to: message.authorDomains, signing: signing?.domain ?? author, organisation: account.organisation, allowed: principal.allowedDomains)
    {
      throw SMTPRefusal(550, "5.7.1 \(objection)")
    }
    guard let signing else {
      throw SMTPRefusal(550, "5.7.1 no DKIM key for the From domain \(author): register one with POST /dkim/\(author)/register")
    }
    return (signing.domain, signing.row.returnPathHost)
  }

  private func screen(_ octets: [UInt8], _ message: SubmittedMessage, _ dkimDomain: String) async throws {
    var texts = MessageContent(authorName: nil, authorAddress: message.author.address.description, subject: message.subject)
    for part in MIMEPart.read(octets).outline where part.type.hasPrefix("text/") {
      let text = part.text(limit: ContentScreen.mostHTML + 1)
      if part.type == "text/html" { texts.html = (texts.html ?? "") + text } else { texts.text = (texts.text ?? "") + text }
    }
    if let objection = try await send.screen.objection(to: texts, dkimDomain: dkimDomain) { throw SMTPRefusal(554, "5.7.1 \(objection)") }
  }

  /// Another message under the same key: nothing of this one is accepted.
  private func refuseConflicts(_ batch: [Intake.Ready]) async throws {
    for ready in batch {
      guard let identity = ready.submission.workAttemptID else { return }
      let known = try await store.receipts(identity: identity, now: clock())[ready.submission.organisation]
      if let known, known.messageID != ready.submission.messageID { throw Self.conflict }
    }
  }

  private static let conflict = SMTPRefusal(554, "5.5.4 another message was submitted under this idempotency key")

  private func reply(to answers: [IntakeAnswer], _ batch: [Intake.Ready], _ identity: SubmissionIdentity) -> SMTPReply {
    var isRepeated = true
    for (answer, ready) in zip(answers, batch) {
      switch answer {
      case .accepted: isRepeated = false
      case .duplicate(let id): if id != ready.submission.messageID { return Self.conflict.reply }
      // What was accepted of it is known again when the client tries again.
      case .refused(let error): return Self.reply(error)
      }
    }
    return Self.reply(250, "2.0.0 queued as \(identity.submission)\(isRepeated ? ", as before" : "")")
  }

  // MARK: shapes

  /// Each address once.
  private static func addresses(_ texts: [String]) -> [EmailAddress] {
    var seen: Set<String> = []
    return texts.compactMap { EmailAddress($0) }.filter { seen.insert($0.normalised).inserted }
  }

  private static func reply(_ code: Int, _ text: String) -> SMTPReply { SMTPReply(code: code, lines: [text]) }

  /// What HTTP clients are told, in SMTP: all that passes by itself is 4xx.
  private static func reply(_ error: APIError) -> SMTPReply {
    switch error.status {
    case 429: reply(452, "4.3.1 \(error.text)")
    case 400, 403, 413: reply(554, "5.7.1 \(error.text)")
    default: reply(451, "4.3.0 \(error.text)")
    }
  }
}
