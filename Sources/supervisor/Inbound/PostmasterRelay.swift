import Foundation
import MIME
import MTAConfig
import MailFormat
import MailModel
import Observability
import SMTPServer

/// Mail to postmaster and abuse of our domains, on to the person behind them (`bounce.postmaster`), through the queue under an
/// organisation of its own, which no tenant's policy stands before. The message stays as it came, with a trace field before it
/// (RFC 5321 §4.4). It is in `inbound.db` too until it has arrived (``RelayWatch``): what cannot be relayed is held, not lost.
struct PostmasterRelay: Sendable {
  /// In the place of a route's id.
  static let routeID = "postmaster"
  /// A mail that has seen so many servers goes in a circle (RFC 5321 §6.3).
  static let maxHops = 30

  let config: MTAConfig
  let intake: Intake
  let keys: KeyStore
  let mails: InboundStore
  let counts: InboundCounts

  var isConfigured: Bool { !config.bounce.postmaster.isEmpty }

  /// Accepted durably when it answers nil.
  /// - Throws: when the queue takes nothing now.
  func relay(_ mail: ReceivedMail, _ octets: [UInt8]) async throws -> SMTPReply? {
    guard isConfigured else { return SMTPReply(code: 550, lines: ["5.1.1 Mailbox not found"]) }
    guard Self.hops(octets) < Self.maxHops else { return SMTPReply(code: 554, lines: ["5.4.6 The message goes in a circle"]) }
    // By its content, so that the same mail once more is the same message.
    let name = Digest.hex(Array(Digest.sha256(Array(mail.returnPath.utf8) + [0] + octets).prefix(16)))
    let row = InboundStore.Mail(
      id: "postmaster-\(name)", state: .relaying, routeID: Self.routeID, from: mail.returnPath, recipient: mail.recipients.first ?? "",
      subject: MIMEPart.read(octets).headers.first("subject") ?? "", size: octets.count, receivedAt: mail.receivedAt)
    let sealed = Array(trace(mail, name).utf8) + octets
    guard mails.hasRoom(Self.routeID, for: sealed.count) else { throw InboundStore.Fault.full }
    let isNew = try await submit(row, sealed)
    try await mails.store(row, content: sealed, isNew: isNew)
    counts.add(.relayed)
    return nil
  }

  /// A held one is tried once more, as a message of its own.
  /// - Throws: ``APIError`` when that is not possible now; it is held still.
  func retry(_ mail: InboundStore.Mail) async throws {
    guard let content = try await mails.content(mail.id) else { return }
    var next = mail
    next.tries += 1
    _ = try await submit(next, content)
    try await mails.resume(mail.id, as: .relaying, tries: next.tries)
  }

  /// In the queue and in history.
  static func messageID(of mail: InboundStore.Mail) -> String { mail.id + (mail.tries == 0 ? "" : "-\(mail.tries)") }

  /// - Returns: whether the queue did not have it.
  private func submit(_ mail: InboundStore.Mail, _ sealed: [UInt8]) async throws -> Bool {
    guard let recipient = EmailAddress(config.bounce.postmaster), let pool = config.pools.first(where: { !$0.ips.isEmpty }) else {
      throw APIError(status: 409, text: "bounce.postmaster is not configured: there is nobody to relay to")
    }
    var content = MessageContent(
      authorName: nil, authorAddress: mail.from.isEmpty ? "mailer-daemon@\(config.hostname)" : mail.from, subject: "postmaster")
    content.sealed = sealed
    let submission = Submission(
      messageID: Self.messageID(of: mail), workAttemptID: nil, organisation: Organisation.postmaster, recipient: recipient, pool: pool.name,
      dedicatedIP: nil, dkimDomain: try await signingDomain(), content: content, messageIDField: nil, campaignID: nil, tags: [],
      band: PriorityBand(engagementScore: 100),
      sendAt: nil, deliverBy: nil, deliveryDomain: "production", objection: nil)
    let packed = Intake.pack(content)
    await intake.arrived()
    let answer = await intake.submit(
      Intake.Ready(submission: submission, hash: packed.hash, packed: packed.octets, size: packed.size, returnPathHost: nil))
    switch answer {
    case .accepted: return true
    case .duplicate: return false
    case .refused(let error): throw error
    }
  }

  /// The domain that signs for us, when one of ours has a key; else the mail goes out with its own signatures only.
  private func signingDomain() async throws -> String {
    try await keys.nearest(config.bounce.domain)?.domain ?? ""
  }

  private func trace(_ mail: ReceivedMail, _ id: String) -> String {
    let session = mail.session
    let client = session.clientName.filter { $0.isASCII && ($0.isLetter || $0.isNumber || ".-:[]".contains($0)) }.prefix(255)
    let way = (session.isExtended ? "ESMTP" : "SMTP") + (session.tlsVersion == nil ? "" : "S")
    return
      "Received: from \(client.isEmpty ? "unknown" : client) ([\(session.peer)])\r\n\tby \(config.hostname) with \(way) id \(id);\r\n\t"
      + "\(RFC5322Date.string(mail.receivedAt))\r\n"
  }

  private static func hops(_ octets: [UInt8]) -> Int {
    var count = 0
    var start = 0
    let name = Array("received:".utf8)
    while start < octets.count, let end = octets[start...].firstIndex(of: 0x0A) {
      let line = octets[start..<end]
      if line.count <= 1 { break }
      if line.prefix(name.count).map({ $0 | 0x20 }).elementsEqual(name.map { $0 | 0x20 }) { count += 1 }
      start = end + 1
    }
    return count
  }
}
