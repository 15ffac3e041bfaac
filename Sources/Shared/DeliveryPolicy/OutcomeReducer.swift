package import MailModel

/// What follows from one outcome.
package struct OutcomeEffects: Sendable {
  package enum Fate: Sendable, Equatable {
    case final(DoneRecord.Final)
    /// Ended as uncertain; content is kept until then.
    case keep(DoneRecord.Final, until: Milliseconds)
    case retry(at: Milliseconds)
    case giveBack(addingCrashMarks: Int)
    case hold(reason: String)
    /// To a smaller set of IPs (``IPSet``), at its old place.
    case move(set: String)
  }

  package struct Suppression: Sendable, Equatable {
    package var organisation: String
    package var address: String
    package var reason: String
  }

  package var fate: Fate
  package var events: [DeliveryEvent]
  /// For endpoints without `uncertain`.
  package var fallback: DeliveryEvent?
  package var suppression: Suppression?
  package var lesson: Lesson?
}

/// An outcome as the reducer gets it.
package struct ReducerInput: Sendable {
  package var record: MessageRecord
  package var result: AttemptResult
  package var serial: Int
  package var deferrals: Int
  package var crashMarks: Int
  /// Where it waited; nil when the row does not say.
  package var group: Group?
  /// IPs of its set that could send it now, beside the one that tried.
  package var otherIPs: [String] = []
  /// Key of the lane it went by, when that is known.
  package var laneKey: String?

  package init(record: MessageRecord, result: AttemptResult, serial: Int, deferrals: Int, crashMarks: Int, group: Group? = nil) {
    self.group = group
    self.record = record
    self.result = result
    self.serial = serial
    self.deferrals = deferrals
    self.crashMarks = crashMarks
  }
}

/// Outcome → effects, without I/O: the one place where it is decided what a reply means for its message.
package struct OutcomeReducer: Sendable {
  /// A message that took its worker down so often is given up (DESIGN section 5).
  package static let maxCrashMarks = 3
  /// A message that one IP's reputation keeps out is tried from so many others.
  package static let maxOtherIPs = 3

  package var retry: RetryPolicy
  package var providers: ProviderTable

  package init(retry: RetryPolicy, providers: ProviderTable) {
    self.retry = retry
    self.providers = providers
  }

  /// - Parameter random: 0 to 1, for the jitter.
  package func reduce(_ input: ReducerInput, now: Milliseconds, random: Double) -> OutcomeEffects {
    var effects = decide(input, now: now, random: random)
    effects.lesson = lesson(input)
    return effects
  }

  private func decide(_ input: ReducerInput, now: Milliseconds, random: Double) -> OutcomeEffects {
    let writer = EventWriter(input: input, provider: provider(input.result), now: now)
    switch input.result.kind {
    case .replied:
      guard let reply = input.result.reply else { return deferral(input, writer, nil, now, random) }
      if input.result.isDelivered {
        return OutcomeEffects(
          fate: .final(.init(state: .delivered, reason: nil)), events: [writer.sent(reply)], suppression: nil)
      }
      return refused(input, writer, reply, now, random)
    case .connectionFailed:
      if let reply = input.result.reply, reply.isPermanent, verdict(reply, input).reaction == .otherIP {
        return refused(input, writer, reply, now, random)
      }
      return deferral(input, writer, input.result.reply, now, random)
    case .uncertain: return uncertain(input, writer, now, random)
    case .unbegun: return unbegun(input, writer)
    case .contentMissing: return OutcomeEffects(fate: .hold(reason: "content"), events: [], suppression: nil)
    case .unrenderable:
      return failed(writer, code: "UNRENDERABLE", text: input.result.text ?? "the message cannot be built")
    case .unsupported:
      let text = input.result.text ?? "the recipient's server lacks what the message needs"
      return OutcomeEffects(
        fate: .final(.init(state: .bounced, reason: text)), events: [writer.bounced(hard: true, text)], suppression: nil)
    case .concluded: return concluded(input, writer, now, random)
    }
  }

  private func provider(_ result: AttemptResult) -> MailboxProvider {
    result.host.map(providers.provider(mx:)) ?? .other
  }

  private func refused(
    _ input: ReducerInput, _ writer: EventWriter, _ reply: SMTPReply, _ now: Milliseconds, _ random: Double
  ) -> OutcomeEffects {
    let verdict = self.verdict(reply, input)
    if reply.isPermanent, verdict.reaction == .otherIP {
      return byAnotherIP(input, writer, reply, now)
        ?? OutcomeEffects(
          fate: .final(.init(state: .bounced, reason: reply.text)), events: [writer.bounced(hard: false, reply.text)], suppression: nil)
    }
    guard !verdict.isDeferral else { return deferral(input, writer, reply, now, random) }
    var suppression: OutcomeEffects.Suppression?
    if verdict.suppresses, input.record.deliveryDomain != "member_test", input.record.organisation != Organisation.postmaster,
      let address = EmailAddress(input.record.recipient)
    {
      suppression = .init(
        organisation: input.record.organisation, address: address.normalised, reason: "hard_bounce")
    }
    return OutcomeEffects(
      fate: .final(.init(state: .bounced, reason: reply.text)), events: [writer.bounced(hard: true, reply.text)],
      suppression: suppression)
  }

  private func deferral(
    _ input: ReducerInput, _ writer: EventWriter, _ reply: SMTPReply?, _ now: Milliseconds, _ random: Double
  ) -> OutcomeEffects {
    let verdict = reply.map { self.verdict($0, input) }
    let delay = retry.delay(
      deferrals: input.deferrals, statedWait: verdict?.statedWait, mailboxFull: verdict?.reaction == .retryLong, random: random)
    var events: [DeliveryEvent] = []
    if let reply, reply.isTransient { events.append(writer.classified(reply)) }
    events.append(writer.deferred(reply, nextAttemptAt: now + delay, attempt: input.deferrals + 1))
    return OutcomeEffects(fate: .retry(at: now + delay), events: events, suppression: nil)
  }

  /// It counts against the IP, not the recipient: the message goes on from the set's other IPs.
  private func byAnotherIP(_ input: ReducerInput, _ writer: EventWriter, _ reply: SMTPReply, _ now: Milliseconds) -> OutcomeEffects? {
    guard case .pool(let name, let less)? = input.group.flatMap({ IPSet($0.set) }), less.count < Self.maxOtherIPs, !input.otherIPs.isEmpty
    else { return nil }
    let set = IPSet.pool(name, less: less.union([input.result.sourceIP]))
    return OutcomeEffects(
      fate: .move(set: set.description), events: [writer.deferred(reply, nextAttemptAt: now, attempt: input.deferrals + 1)],
      suppression: nil)
  }

  private func verdict(_ reply: SMTPReply, _ input: ReducerInput) -> ReplyVerdict {
    ReplyClassification.verdict(reply, providerName: provider(input.result).rawValue)
  }

  private func lesson(_ input: ReducerInput) -> Lesson? {
    guard input.record.deliveryDomain != "member_test", let domain = input.group?.domain else { return nil }
    let what: Lesson.What
    switch (input.result.kind, input.result.reply) {
    case (.replied, let reply?): what = input.result.isDelivered ? .delivered : .refused(verdict(reply, input))
    case (.connectionFailed, let reply?): what = .refused(verdict(reply, input))
    // Without a host nobody was called: this IP's family is not theirs.
    case (.connectionFailed, nil) where input.result.host != nil: what = .unreachable
    default: return nil
    }
    // The lane's provider is that of all its mail hosts, which is what its permits were charged to.
    let provider = input.laneKey.map { MailboxProvider(rawValue: $0) ?? .other } ?? provider(input.result)
    return Lesson(
      what: what, ip: input.result.sourceIP, provider: provider,
      laneKey: input.laneKey ?? ProviderTable.laneKey(provider, domain: domain), domain: domain, organisation: input.record.organisation,
      pool: input.record.pool, campaign: input.record.campaignID)
  }

  private func uncertain(_ input: ReducerInput, _ writer: EventWriter, _ now: Milliseconds, _ random: Double)
    -> OutcomeEffects
  {
    if retry.uncertain == .resend {
      let delay = retry.delay(deferrals: input.deferrals, statedWait: nil, mailboxFull: false, random: random)
      return OutcomeEffects(
        fate: .retry(at: now + delay), events: [writer.uncertain()], fallback: writer.uncertainFallback(), suppression: nil)
    }
    return OutcomeEffects(
      fate: .keep(.init(state: .uncertain, reason: input.result.text), until: input.record.expiresAt),
      events: [writer.uncertain()], fallback: writer.uncertainFallback(), suppression: nil)
  }

  private func unbegun(_ input: ReducerInput, _ writer: EventWriter) -> OutcomeEffects {
    guard input.result.crashed else {
      return OutcomeEffects(fate: .giveBack(addingCrashMarks: 0), events: [], suppression: nil)
    }
    guard input.crashMarks + 1 < Self.maxCrashMarks else {
      return failed(writer, code: "INTERNAL_ERROR", text: "the message ended its worker \(Self.maxCrashMarks) times")
    }
    return OutcomeEffects(fate: .giveBack(addingCrashMarks: 1), events: [], suppression: nil)
  }

  private func failed(_ writer: EventWriter, code: String, text: String) -> OutcomeEffects {
    OutcomeEffects(
      fate: .final(.init(state: .failed, reason: "\(code): \(text)")), events: [writer.failed(code: code, text)],
      suppression: nil)
  }

  private func concluded(_ input: ReducerInput, _ writer: EventWriter, _ now: Milliseconds, _ random: Double)
    -> OutcomeEffects
  {
    // The reason, and behind a colon what there is to say of it.
    let text = input.result.text ?? ""
    let detail = text.firstIndex(of: ":").map { String(text[$0...]) } ?? ""
    switch ConcludeReason(rawValue: String(text.prefix { $0 != ":" })) {
    case .expired:
      let text = "expired: not delivered in time"
      return OutcomeEffects(
        fate: .final(.init(state: .expired, reason: text)), events: [writer.bounced(hard: false, text)], suppression: nil)
    case .cancelled: return failed(writer, code: "CANCELLED", text: "cancelled")
    case .suppressed: return failed(writer, code: "RECIPIENT_SUPPRESSED", text: "the recipient is on the suppression list")
    case .screened: return failed(writer, code: "CONTENT_SCREENED", text: "Content screening rejected the message" + detail)
    // What DNS says for good is reduced like a reply (DESIGN section 5, step 3).
    case .noSuchDomain:
      return refused(input, writer, SMTPReply(code: 550, lines: ["5.1.2 The recipient's domain does not exist"]), now, random)
    case .nullMX:
      return refused(
        input, writer, SMTPReply(code: 556, lines: ["5.1.10 The recipient's domain takes no mail (null MX)"]), now, random)
    case .noMailHost:
      return refused(
        input, writer, SMTPReply(code: 550, lines: ["5.4.4 The recipient's domain has no mail host"]), now, random)
    case nil: return failed(writer, code: "INTERNAL_ERROR", text: input.result.text ?? "unknown reason")
    }
  }
}
