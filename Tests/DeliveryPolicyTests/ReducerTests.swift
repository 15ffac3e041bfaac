import DeliveryPolicy
import MailModel
import Testing

@Suite struct ReducerTests {
  let reducer = OutcomeReducer(retry: RetryPolicy(), providers: ProviderTable())

  func input(_ result: AttemptResult, deferrals: Int = 0, marks: Int = 0, domain: String = "production") -> ReducerInput {
    ReducerInput(
      record: MessageRecord(
        messageID: "m", workAttemptID: nil, organisation: "o", recipient: "U@b.example", pool: "p", dkimDomain: "news.sender.co.uk",
        returnPathLocal: "l", returnPathHost: "h", acceptedAt: 0, expiresAt: 9_000_000, deliveryDomain: domain, contentSize: 1),
      result: result, serial: 1, deferrals: deferrals, crashMarks: marks)
  }

  func replied(_ code: Int, _ text: String, at stage: SMTPStage = .rcpt, host: String = "mx.b.example") -> AttemptResult {
    var result = AttemptResult(kind: .replied, sourceIP: "192.0.2.1", at: 0)
    result.stage = stage
    result.host = host
    result.reply = SMTPReply(code: code, lines: [text])
    return result
  }

  func reduce(_ input: ReducerInput) -> OutcomeEffects { reducer.reduce(input, now: 1000, random: 0.5) }

  /// (reply, stage, kinds of events, suppressed?, ended?)
  @Test(arguments: [
    (250, "2.0.0 <abc@x> ok", SMTPStage.dot, ["sent"], false, true),
    (550, "5.1.1 no such user", .rcpt, ["bounced"], true, true),
    (550, "5.1.10 gone", .rcpt, ["bounced"], true, true),
    (550, "5.2.1 disabled", .dot, ["bounced"], true, true),
    (550, "no such user", .rcpt, ["bounced"], true, true),
    (550, "5.7.1 blocked using zen", .rcpt, ["bounced"], false, true),
    (554, "5.7.26 unauthenticated", .dot, ["bounced"], false, true),
    (552, "5.3.4 too large", .dot, ["bounced"], false, true),
    (552, "5.2.2 over quota", .rcpt, ["deferred"], false, false),
    (452, "4.2.2 mailbox full", .rcpt, ["smtp.classified", "deferred"], false, false),
    (451, "4.7.1 greylisted", .rcpt, ["smtp.classified", "deferred"], false, false),
    (421, "4.7.0 spam", .mail, ["smtp.classified", "deferred"], false, false),
  ])
  func replies(code: Int, text: String, stage: SMTPStage, events: [String], suppressed: Bool, ended: Bool) {
    let effects = reduce(input(replied(code, text, at: stage)))
    #expect(effects.events.map(\.kind.rawValue) == events)
    #expect((effects.suppression != nil) == suppressed)
    if case .final = effects.fate { #expect(ended) } else { #expect(!ended) }
  }

  @Test func aDeliveryTellsTheRemoteIDAndTheRegistrableDomain() {
    let event = reduce(input(replied(250, "2.0.0 Ok <id-7@mx> queued", at: .dot))).events[0]
    #expect(event["remoteMessageId"] == .text("id-7@mx"))
    #expect(event["primarySendingDomain"] == .text("sender.co.uk"))
    #expect(event["destinationProvider"] == .text("other"))
    #expect(reduce(input(replied(250, "ok", at: .dot, host: "alt1.aspmx.l.google.com"))).events[0]["destinationProvider"] == .text("gmail"))
  }

  @Test func aConnectionThatFailsIsADeferralWhateverItsGreetingSaid() {
    var result = replied(554, "5.7.1 go away", at: .greeting)
    result.kind = .connectionFailed
    let effects = reduce(input(result))
    #expect(effects.fate == .retry(at: 1000 + 30_000))
    #expect(effects.suppression == nil)
    #expect(effects.events.map(\.kind) == [.deferred])
  }

  /// An IP whose family no host has called nobody: the domain is as it was for the others.
  @Test func whereNobodyWasCalledNothingIsLearnt() {
    var result = AttemptResult(kind: .connectionFailed, sourceIP: "2001:db8::1", at: 0)
    result.text = "no host has an address that 2001:db8::1 can reach"
    var known = input(result)
    known.group = Group(set: "pool:p", domain: "b.example")
    #expect(reduce(known).lesson == nil)
    known.result.host = "mx.b.example"
    #expect(reduce(known).lesson?.what == .unreachable)
  }

  @Test func memberTestsTellNothingOfTheRecipient() {
    let sent = reduce(input(replied(250, "ok", at: .dot), domain: "member_test")).events[0]
    #expect(sent["recipient"] == nil && sent["destinationProvider"] == nil && sent["primarySendingDomain"] == nil)
    #expect(sent["deliveryDomain"] == .text("member_test"))
    #expect(reduce(input(replied(550, "5.1.1 no", at: .rcpt), domain: "member_test")).suppression == nil)
  }

  @Test func uncertainIsNeverSentAgainUnlessAskedFor() {
    let cut = AttemptResult(kind: .uncertain, sourceIP: "192.0.2.1", at: 0)
    let held = reduce(input(cut))
    guard case .keep(let final, let until) = held.fate else { return #expect(Bool(false)) }
    #expect(final.state == .uncertain && until == 9_000_000)
    #expect(held.events.map(\.kind) == [.uncertain])
    #expect(held.fallback?.kind == .failed && held.fallback?["errorCode"] == nil && held.fallback?["severity"] == .text("warning"))
    var resending = reducer
    resending.retry.uncertain = .resend
    if case .retry = resending.reduce(input(cut), now: 0, random: 0.5).fate {} else { #expect(Bool(false)) }
  }

  @Test func whatIsGivenBackCountsNothingAndCrashesCount() {
    var result = AttemptResult(kind: .unbegun, sourceIP: "192.0.2.1", at: 0)
    #expect(reduce(input(result, marks: 2)).fate == .giveBack(addingCrashMarks: 0))
    result.crashed = true
    #expect(reduce(input(result)).fate == .giveBack(addingCrashMarks: 1))
    let third = reduce(input(result, marks: 2))
    guard case .final(let final) = third.fate else { return #expect(Bool(false)) }
    #expect(final.state == .failed)
    #expect(third.events[0]["errorCode"] == .text("INTERNAL_ERROR"))
  }

  @Test(arguments: [
    (ConcludeReason.expired, "bounced", DoneRecord.FinalState.expired, false), (.cancelled, "failed", .failed, false),
    (.suppressed, "failed", .failed, false), (.noSuchDomain, "bounced", .bounced, false), (.nullMX, "bounced", .bounced, true),
    (.noMailHost, "bounced", .bounced, false),
  ])
  func concluded(reason: ConcludeReason, event: String, state: DoneRecord.FinalState, suppressed: Bool) {
    var result = AttemptResult(kind: .concluded, sourceIP: "", at: 0)
    result.text = reason.rawValue
    let effects = reduce(input(result))
    #expect(effects.events.map(\.kind.rawValue) == [event])
    #expect((effects.suppression != nil) == suppressed)
    guard case .final(let final) = effects.fate else { return #expect(Bool(false)) }
    #expect(final.state == state)
  }
}

@Suite struct RetryTests {
  @Test(arguments: [(0, 30_000), (1, 120_000), (4, 7_200_000), (99, 7_200_000)])
  func theLastDelayRepeats(deferrals: Int, delay: Int64) {
    #expect(RetryPolicy().delay(deferrals: deferrals, statedWait: nil, mailboxFull: false, random: 0.5) == delay)
  }

  @Test func aStatedWaitOnlyLengthens() {
    let policy = RetryPolicy()
    #expect(policy.delay(deferrals: 0, statedWait: 300_000, mailboxFull: false, random: 0.5) == 300_000)
    #expect(policy.delay(deferrals: 1, statedWait: 1000, mailboxFull: false, random: 0.5) == 120_000)
    #expect(policy.delay(deferrals: 0, statedWait: 86_400_000, mailboxFull: false, random: 0.5) == 3_600_000)
    #expect(policy.delay(deferrals: 0, statedWait: nil, mailboxFull: true, random: 0.5) == 7_200_000)
    #expect(policy.delay(deferrals: 0, statedWait: nil, mailboxFull: false, random: 0) == 25_500)
    #expect(policy.delay(deferrals: 0, statedWait: nil, mailboxFull: false, random: 1) == 34_500)
  }

  @Test(
    arguments: [
      ("4.7.1 try again in 300 seconds", 300_000), ("please retry in 5 minutes", 300_000), ("wait 1 hour", 3_600_000),
      ("4.2.1 busy", nil), ("450 messages", nil),
    ] as [(String, Int64?)])
  func statedWaits(text: String, wait: Int64?) {
    #expect(ReplyClassifier.statedWait(SMTPReply(code: 451, lines: [text])) == wait)
  }

  @Test(arguments: [
    ("4.7.28 unusual rate", MailboxProvider.gmail, "gmail_rate_limited"), ("4.7.23 ptr", .gmail, "gmail_ip_identity"),
    ("4.7.29 tls", .gmail, "gmail_tls_required"), ("4.7.0 [TSS04] deferred", .yahoo, "yahoo_tss04"),
    ("[TS03] deferred", .yahoo, "yahoo_ts03"), ("4.3.2 busy", .microsoft, "microsoft_resource_throttle"),
    ("4.2.2 quota", .other, "mailbox_full"), ("4.7.1 Greylisted", .other, "greylisted"),
    ("4.7.0 too many connections", .other, "rate_limited"),
    ("blocked using zen.example", .other, "content_rejected"), ("no PTR record", .other, "policy_rejected"),
    ("4.4.1 hm", .other, "unknown"),
  ])
  func categories(text: String, provider: MailboxProvider, category: String) {
    #expect(ReplyClassifier.category(SMTPReply(code: 451, lines: [text]), provider: provider).rawValue == category)
  }
}

@Suite struct ThrottleTests {
  @Test func permitsAreSpacedAndARestartMakesNoBurst() {
    var throttle = LaneThrottle(ratePerMinute: 30)
    #expect(throttle.available(wanted: 10, now: 10_000) == 1)
    #expect(throttle.take(1, now: 10_000) == (10_000, 2000))
    #expect(throttle.available(wanted: 10, now: 10_000) == 0)
    #expect(throttle.opensAt == 12_000 - LaneThrottle.lookAhead)
    let restarted = LaneThrottle(ratePerMinute: 30, nextPermitAt: throttle.nextPermitAt)
    #expect(restarted.available(wanted: 10, now: 10_000) == 0)
    #expect(restarted.available(wanted: 10, now: 11_500) == 1)
  }

  /// Over a minute a lane gives its rate and what the look-ahead allows, never more.
  @Test(arguments: [30.0, 100, 6000, 60_000])
  func aMinuteGivesTheRate(rate: Double) {
    var throttle = LaneThrottle(ratePerMinute: rate)
    var given = 0
    for now in stride(from: Int64(1_000_000), to: 1_060_000, by: 10) {
      let count = throttle.available(wanted: 64, now: now)
      if count > 0 {
        _ = throttle.take(count, now: now)
        given += count
      }
    }
    #expect(Double(given) >= rate * 0.98 && Double(given) <= rate + rate / 60_000 * 500 + 2)
  }

  @Test func providersAreFoundByMXSuffixAndMustAgree() {
    let table = ProviderTable()
    #expect(table.provider(mx: ["aspmx.l.google.com", "alt1.aspmx.l.google.com"]) == .gmail)
    #expect(table.provider(mx: ["a.mail.protection.outlook.com"]) == .microsoft)
    #expect(table.provider(mx: ["mx.notgoogle.com"]) == .other)
    #expect(table.provider(mx: ["aspmx.l.google.com", "mx.example.org"]) == .other)
    #expect(ProviderTable.laneKey(.gmail, domain: "a.example") == "gmail")
    #expect(ProviderTable.laneKey(.other, domain: "a.example") == "domain:a.example")
  }
}
