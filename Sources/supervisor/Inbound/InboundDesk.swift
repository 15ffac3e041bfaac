import Logging
import MailFormat
import MailModel
import Observability
import SMTPServer

/// Whoever writes to our return-paths, feedback addresses, postmaster or routes: decides at RCPT who is taken in, and answers 250
/// to a mail only when what follows from it is durable (DESIGN section 9). Every step may be repeated: a client that missed our
/// answer sends the same mail again.
struct InboundDesk: MailReceiver {
  let addresses: InboundAddresses
  let feedback: FeedbackDesk
  let postmaster: PostmasterRelay
  let unsubscriptions: Unsubscriptions
  let mails: InboundMails
  let counts: InboundCounts
  let room: InboundRoom
  /// Nil when nobody can be asked (the sandbox has no resolver).
  let authenticator: InboundAuthenticator?
  let log: Logger

  func refusal(of sender: SMTPSender, session: InboundSession) async -> SMTPReply? { room.hasAny ? nil : noRoom() }

  func accepts(recipient: String, session: InboundSession) async -> RecipientAnswer {
    let address: InboundAddress
    do { address = try await addresses.read(recipient, now: SystemClock.now()) } catch { return .later(Self.later) }
    guard room.hasRoom(for: address) else { return .later(noRoom()) }
    switch address {
    case .returnPath, .complaints, .feedback, .unsubscribe: return .ok
    case .postmaster where postmaster.isConfigured: return .ok
    case .route(let route) where route.mode.takesMail: return .ok
    case .forged:
      counts.add(.forged)
      return .refused(SMTPReply(code: 550, lines: ["5.1.1 This address was not made by us"]))
    case .route, .postmaster, .unknown:
      counts.add(.unknownRecipient)
      return .refused(SMTPReply(code: 550, lines: ["5.1.1 Mailbox not found"]))
    }
  }

  func received(_ mail: ReceivedMail) async -> SMTPReply {
    guard room.admit(mail.content.size) else { return noRoom() }
    do {
      let octets = try mail.content.octets()
      let authentication = await authenticator?.judge(mail)
      log.debug(
        "mail came in",
        metadata: [
          "peer": "\(mail.session.peer)", "size": "\(mail.content.size)",
          "authentication": "\(authentication?.description ?? "not looked at")",
        ])
      for recipient in mail.recipients {
        switch try await addresses.read(recipient, now: mail.receivedAt) {
        case .returnPath(let verdict): try await feedback.take(octets, token: verdict, by: Reporter(authentication), now: mail.receivedAt)
        case .complaints(let number):
          try await feedback.take(octets, complaintsOf: number, by: Reporter(authentication), now: mail.receivedAt)
        case .feedback: try await feedback.take(octets, by: Reporter(authentication), now: mail.receivedAt)
        case .unsubscribe: try await unsubscribe(octets, now: mail.receivedAt)
        case .postmaster:
          if let refusal = try await postmaster.relay(mail, octets) { return refusal }
        case .route(let route): try await mails.take(mail, octets, authentication, to: recipient, by: route)
        // Taken at RCPT and gone since, as a route that was removed meanwhile.
        case .forged, .unknown: return SMTPReply(code: 550, lines: ["5.1.1 Mailbox not found"])
        }
      }
      return SMTPReply(code: 250, lines: ["2.0.0 OK: message accepted"])
    } catch InboundStore.Fault.full {
      return noRoom()
    } catch FeedbackDesk.Fault.elsewhere {
      return SMTPReply(code: 451, lines: ["4.3.0 Another server of this domain has sent the message: try that one, or again later"])
    } catch FeedbackDesk.Fault.notHereYet {
      counts.add(.later)
      return SMTPReply(code: 451, lines: ["4.3.0 The message is still under way: try again later"])
    } catch {
      log.warning("mail that came in cannot be kept; its sender will try again", metadata: [LogKey.error: "\(error)"])
      counts.add(.later)
      return Self.later
    }
  }

  private func noRoom() -> SMTPReply {
    counts.add(.noRoom)
    return InboundRoom.reply
  }

  private static let later = SMTPReply(code: 451, lines: ["4.3.0 Try again later"])

  private func unsubscribe(_ octets: [UInt8], now: Milliseconds) async throws {
    guard let token = UnsubscribeMail.token(octets).flatMap({ unsubscriptions.token($0) }) else {
      counts.add(.unattributed)
      return
    }
    try await unsubscriptions.leave(token, now: now)
    counts.add(.unsubscribed)
  }
}
