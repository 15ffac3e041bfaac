import Logging
import MTAConfig
import NIOCore
import NIOPosix
import Observability
import SMTPProtocol
import SMTPServer

/// What comes in over SMTP.
struct Inbound: Sendable {
  var services: [InboundService] = []

  /// For `GET /metrics`; labels are bounded.
  func metrics() -> String {
    var page = MetricsPage()
    let rows = services.map { ([("listener", $0.name)], $0.listener.figures) }
    page.add(
      "mta_inbound_connections_total", .counter, "SMTP connections taken, by listener (bounce, submission).",
      rows.map { ($0.0, Double($0.1.connections)) })
    page.add("mta_inbound_open", .gauge, "SMTP sessions that are open, by listener.", rows.map { ($0.0, Double($0.1.open)) })
    page.add("mta_inbound_accepted_total", .counter, "Messages answered 250, by listener.", rows.map { ($0.0, Double($0.1.accepted)) })
    page.add(
      "mta_inbound_refused_total", .counter, "What was refused over SMTP, by listener and cause.",
      rows.flatMap { labels, figures in
        InboundFigures.Refusal.allCases.compactMap { cause in
          figures.refused[cause].map { (labels + [("cause", cause.rawValue)], Double($0)) }
        }
      })
    return page.text
  }
}

extension Installation {
  /// Listens where the configuration says.
  static func inbound(
    _ config: MTAConfig, _ sockets: ListenSockets, receiver: any MailReceiver, submission: SubmissionReceiver, log: Logger
  ) async throws -> Inbound {
    var inbound = Inbound()
    let bounce = sockets.take(ListenSockets.smtp, listen: config.bounce.listen.map(\.canonical))
    // Without a certificate nobody can submit: a socket for it is closed with those that nobody takes.
    let submitted =
      config.submission.tls == nil ? .init() : sockets.take(ListenSockets.submission, listen: config.submission.listen.map(\.canonical))
    let hasBounce = !bounce.passed.isEmpty || !bounce.unbound.isEmpty
    let hasSubmission = !submitted.passed.isEmpty || !submitted.unbound.isEmpty
    guard hasBounce || hasSubmission else { return inbound }
    // A loop of their own: hostile clients and handshakes take no time from anything else.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let budget = ConnectionBudget(config, hasBounce: hasBounce, hasSubmission: hasSubmission)
    if hasBounce {
      var policy = SMTPServerPolicy(hostName: config.hostname, banner: "\(config.hostname) Owlat MTA Bounce Processor")
      // Each recipient has a fate of its own, and a report has one recipient (contract section 12.1).
      policy.maxRecipients = 1
      var options = SMTPListener.Options(policy: policy, clock: SystemClock.now)
      options.spoolDirectory = config.stateDir
      options.limits.connections = budget.bounce
      inbound.services.append(
        try await InboundService.start(
          "bounce", on: config.bounce.listen, share: bounce, tls: config.bounce.tls, group: group, options: options,
          receiver: receiver, log: log))
    }
    if hasSubmission {
      var policy = SMTPServerPolicy(hostName: config.hostname, banner: "\(config.hostname) ESMTP Owlat MTA Submission")
      policy.maxSize = SubmissionReceiver.maxSize
      policy.requiresTLS = true
      policy.requiresAuthentication = true
      policy.parameters = SubmissionIdentity.parameters
      policy.maxTransactions = 1000
      policy.maxCommands = 100_000
      var options = SMTPListener.Options(policy: policy, clock: SystemClock.now)
      options.spoolDirectory = config.stateDir
      options.limits.connections = budget.submission
      options.limits.command = .minutes(5)
      // Clients with a key need not prove their patience; others learn nothing before the handshake.
      options.limits.bannerDelay = .zero
      // A message costs several times its size while it is packed.
      options.limits.inHand = 48 << 20
      inbound.services.append(
        try await InboundService.start(
          "submission", on: config.submission.listen, share: submitted, tls: config.submission.tls, group: group, options: options,
          receiver: submission, log: log))
    }
    return inbound
  }
}
