import MailModel
import SMTPServer

/// Whether there is room for mail that comes in. Nothing is taken in that could not be kept: its sender keeps it and tries again,
/// and is let in by itself once there is room.
///
/// A low disk and a full Redis refuse everything. A full queue refuses what goes into the queue: a bounce or a complaint ends mail
/// and is welcome then.
struct InboundRoom: Sendable {
  let standing: @Sendable () -> Set<Pressure.Refusal>
  let admitFile: @Sendable (_ octets: Int) -> Bool
  let mails: InboundStore

  static let reply = SMTPReply(code: 452, lines: ["4.3.1 No room now, try again later"])

  /// At MAIL.
  var hasAny: Bool { standing().isDisjoint(with: [.diskLow, .redisFull]) }

  /// At RCPT, for whoever was found to be somebody.
  func hasRoom(for address: InboundAddress) -> Bool {
    switch address {
    case .postmaster: standing().isEmpty && mails.hasRoom(PostmasterRelay.routeID)
    case .route(let route) where route.mode != .accept: mails.hasRoom(route.id)
    case .returnPath, .complaints, .feedback, .unsubscribe, .route, .forged, .unknown: true
    }
  }

  /// At the end of content, when the disk may be another than at MAIL.
  func admit(_ size: Int) -> Bool { hasAny && admitFile(size * 2) }
}
