import Foundation
import MTAConfig
import MailFormat
import MailModel
import Observability
import SMTPServer

/// Mail to postmaster and abuse of our domains, on to the person behind them (`bounce.postmaster`), through the queue like all
/// mail. The message stays as it came, with a trace field before it (RFC 5321 §4.4).
struct PostmasterRelay: Sendable {
  /// A mail that has seen so many servers goes in a circle (RFC 5321 §6.3).
  static let maxHops = 30

  let config: MTAConfig
  let intake: Intake
  let keys: KeyStore
  let counts: InboundCounts

  var isConfigured: Bool { !config.bounce.postmaster.isEmpty }

  /// Accepted durably when it answers nil.
  /// - Throws: when the queue takes nothing now.
  func relay(_ mail: ReceivedMail, _ octets: [UInt8]) async throws -> SMTPReply? {
    guard let recipient = EmailAddress(config.bounce.postmaster), let pool = config.pools.first(where: { !$0.ips.isEmpty }) else {
      return SMTPReply(code: 550, lines: ["5.1.1 Mailbox not found"])
    }
    guard Self.hops(octets) < Self.maxHops else { return SMTPReply(code: 554, lines: ["5.4.6 The message goes in a circle"]) }
    // By its content, so that the same mail once more is the same message.
    let name = Digest.hex(Array(Digest.sha256(Array(mail.returnPath.utf8) + [0] + octets).prefix(16)))
    var content = MessageContent(
      authorName: nil, authorAddress: mail.returnPath.isEmpty ? "mailer-daemon@\(config.hostname)" : mail.returnPath, subject: "postmaster")
    content.sealed = Array(trace(mail, name).utf8) + octets
    let submission = Submission(
      messageID: "postmaster-\(name)", workAttemptID: nil, organisation: "system", recipient: recipient, pool: pool.name, dedicatedIP: nil,
      dkimDomain: try await signingDomain(), content: content, messageIDField: nil, campaignID: nil, tags: [],
      band: PriorityBand(engagementScore: 100),
      sendAt: nil, deliverBy: nil, deliveryDomain: "production", objection: nil)
    let packed = Intake.pack(content)
    await intake.arrived()
    let answer = await intake.submit(
      Intake.Ready(submission: submission, hash: packed.hash, packed: packed.octets, size: packed.size, returnPathHost: nil))
    if case .refused(let error) = answer { throw error }
    counts.add(.relayed)
    return nil
  }

  /// The domain that signs for us, when one of ours has a key; else the mail goes out with its own signatures only.
  private func signingDomain() async throws -> String {
    var labels = config.bounce.domain.split(separator: ".")
    while labels.count > 1 {
      let domain = labels.joined(separator: ".")
      if try await keys.row(domain) != nil { return domain }
      labels.removeFirst()
    }
    return ""
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
