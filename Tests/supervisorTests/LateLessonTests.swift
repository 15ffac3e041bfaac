import DeliveryPolicy
import MailModel
import Redis
import Testing

@testable import supervisor

/// What comes back of mail, and what the policy book makes of it.
@Suite struct LateLessonTests {
  private static let now: Milliseconds = 1_700_000_000_000

  private func book() async -> PolicyBook {
    let book = PolicyBook(providers: ProviderTable(), breaker: BreakerPolicy(), warming: WarmingPolicy(), ips: ["192.0.2.1": false])
    _ = await book.load([:], now: Self.now)
    return book
  }

  private func delivered(_ count: Int, campaign: String? = nil, provider: MailboxProvider = .gmail) -> [Lesson?] {
    Array(
      repeating: Lesson(
        what: .delivered, ip: "192.0.2.1", provider: provider, laneKey: provider.rawValue, domain: "d.example", organisation: "o",
        pool: "p", campaign: campaign), count: count)
  }

  private func late(_ text: String?, campaign: String? = nil) -> LateLesson {
    LateLesson(
      what: text.map { .bounced(ReplyClassification.verdict(diagnostic: $0, status: nil)) } ?? .complained, ip: "192.0.2.1",
      provider: .gmail, organisation: "o", campaign: campaign)
  }

  /// (diagnostic; nil = complaint, what the IP's day counts, what the breaker counts)
  private static let meanings: [(String?, IPWarming.Outcome?, CircuitBreaker.Outcome?)] = [
    (nil, .bounced, .complained), ("550 5.1.1 user unknown", .bounced, .bounced), ("550 5.2.1 mailbox disabled", .bounced, .bounced),
    ("552 5.2.2 mailbox full", nil, nil), ("550 5.7.1 rejected as spam", .bounced, nil),
    ("550 5.7.1 blocked using zen.spamhaus.org", .bounced, nil), ("450 4.2.1 user is receiving mail too quickly", nil, nil),
    ("4.4.7 delivery time expired", .deferred, nil),
  ]

  @Test(arguments: meanings.indices)
  func whatItSpeaksOf(index: Int) {
    let (text, warming, breaker) = Self.meanings[index]
    #expect(late(text).warming == warming && late(text).breaker == breaker, "\(text ?? "complaint")")
  }

  /// One complaint of a hundred opens the breaker and tells the campaign; rows of all three are written together.
  @Test func aComplaintReachesEverything() async throws {
    let book = await book()
    _ = await book.learn(delivered(99, campaign: "campaign0000000001"), now: Self.now)
    #expect(await book.learn(late(nil, campaign: "campaign0000000001"), now: Self.now).opened.isEmpty == false)
    let other = await self.book()
    _ = await other.learn(delivered(100, campaign: "campaign0000000001"), now: Self.now)
    let learnt = await other.learn(late(nil, campaign: "campaign0000000001"), now: Self.now)
    #expect(learnt.opened.map(\.organisation) == ["o"] && learnt.alarms.map(\.alarm.complaints.complained) == [1])
    #expect(
      Set(learnt.rows.map(\.field)) == ["breaker:*:o", "breaker:gmail:o", "warm:192.0.2.1", "campaign:1:o:campaign0000000001"])
    // What is read again is what was written.
    let rows = Dictionary(learnt.rows.map { ($0.field, $0.text ?? "") }, uniquingKeysWith: { first, _ in first })
    let again = await self.book()
    _ = await again.load(rows, now: Self.now)
    #expect(await again.state(of: "o", at: nil, now: Self.now) == other.state(of: "o", at: nil, now: Self.now))
    #expect(await again.learn(late(nil, campaign: "campaign0000000001"), now: Self.now).alarms.isEmpty)
  }

  /// Bounces that come late open the breaker like those that come at once; exactly 15 % of 50 does not.
  @Test func lateBouncesOpenTheBreaker() async {
    let book = await book()
    _ = await book.learn(delivered(93), now: Self.now)
    for index in 1...8 {
      let learnt = await book.learn(late("550 5.1.1 user unknown"), now: Self.now)
      // 93 + 7 = 100 outcomes with 7 bounces; the eighth of the last fifty is above 15 %.
      #expect(learnt.opened.isEmpty == (index < 8), "\(index)")
    }
  }

  /// Late news is no probe's end: it counts as bad, and the fifth probe decides.
  @Test func halfOpenIsNotCompletedByLateNews() async {
    let book = await book()
    _ = await book.learn(delivered(93), now: Self.now)
    for _ in 0..<8 { _ = await book.learn(late("550 5.1.1 user unknown"), now: Self.now) }
    let later = Self.now + BreakerPolicy().open
    #expect(await book.state(of: "o", at: nil, now: later).state == .halfOpen)
    for _ in 0..<6 { _ = await book.learn(late("550 5.1.1 user unknown"), now: later) }
    #expect(await book.state(of: "o", at: nil, now: later).state == .halfOpen)
    _ = await book.learn(delivered(5), now: later)
    #expect(await book.state(of: "o", at: nil, now: later).state == .open)
  }

  /// Neither the lane nor the domain is slowed by what came back.
  @Test func lanesAndDomainsAreLeftAlone() async {
    let book = await book()
    _ = await book.learn(delivered(20), now: Self.now)
    let learnt = await book.learn(late("550 5.7.1 blocked using zen.spamhaus.org"), now: Self.now)
    #expect(learnt.changes.rates.isEmpty && learnt.changes.domains.isEmpty && learnt.changes.pauses.isEmpty)
    #expect(await book.warmingStates()["192.0.2.1"]?.today.total.bounced == 1)
  }

  /// A message that was delivered and came back counts once: as a bounce, on the day of its delivery while that is not judged.
  @Test func oneMessageCountsOnce() async {
    let book = await book()
    _ = await book.learn(delivered(50, campaign: "c"), now: Self.now)
    var lesson = late("550 5.1.1 user unknown", campaign: "c")
    lesson.deliveredAt = Self.now
    for _ in 0..<5 { _ = await book.learn(lesson, now: Self.now) }
    let total = await book.warmingStates()["192.0.2.1"]?.today.total
    #expect(total == WarmingDay.Counts(delivered: 45, bounced: 5))
    // 5 of 50, not 5 of 55.
    #expect(await book.state(of: "o", at: nil, now: Self.now).bounceRate == 0.1)
    #expect(await book.state(of: "o", at: .gmail, now: Self.now).bounceRate == 0.1)
    // What was delivered yesterday counts today, for what came of it; what was not counted as delivered takes nothing back.
    lesson.deliveredAt = Self.now - UTCDay.length
    _ = await book.learn(lesson, now: Self.now)
    lesson.deliveredAt = nil
    _ = await book.learn(lesson, now: Self.now)
    #expect(await book.warmingStates()["192.0.2.1"]?.today.total == WarmingDay.Counts(delivered: 45, bounced: 7))
    // Over midnight, before the day is judged.
    let tomorrow = Self.now + UTCDay.length
    _ = await book.learn(delivered(1), now: tomorrow)
    lesson.deliveredAt = Self.now
    _ = await book.learn(lesson, now: tomorrow)
    #expect(await book.warmingStates()["192.0.2.1"]?.today.total == WarmingDay.Counts(delivered: 1))
  }

  /// An IP is shared: the word of its own organisation, or of nobody in particular, moves no warming.
  @Test func onlyThoseWhoMaySpeakOfTheIPDo() async {
    let book = await book()
    _ = await book.learn(delivered(100), now: Self.now)
    for text in [nil, "550 5.1.1 user unknown"] {
      var lesson = late(text)
      lesson.speaksOfIP = false
      let learnt = await book.learn(lesson, now: Self.now)
      #expect(learnt.changes.warming.isEmpty && !learnt.changes.breakers.isEmpty)
    }
    #expect(await book.warmingStates()["192.0.2.1"]?.today.total == WarmingDay.Counts(delivered: 100))
  }

  @Test func volumeIsByOrganisationAndProvider() async {
    let book = await book()
    _ = await book.learn(delivered(4_000) + delivered(4_000, provider: .yahoo) + delivered(6_000, provider: .microsoft), now: Self.now)
    #expect(await book.bulkSenders().isEmpty)
    let learnt = await book.learn(delivered(1_001), now: Self.now)
    #expect(learnt.excesses == [.init(key: .init(organisation: "o", provider: .gmail), count: 5_001)])
    #expect(await book.bulkSenders().map(\.key.description) == ["gmail:o"])
    let row = learnt.rows.first { $0.field == "volume:gmail:o" }
    let again = await self.book()
    #expect(
      await again.load(["volume:gmail:o": row?.text ?? "", "volume:yahoo:o": "v1 1 5000 0", "x:y": "z"], now: Self.now).idle.map(\.field)
        == ["volume:yahoo:o"])
    #expect(await again.isBulkSender("o", at: .gmail))
  }

  @Test(arguments: ["o", "a:b", "", "ü:", "12:x"])
  func campaignsOfAnyName(organisation: String) {
    for campaign in ["c", "a:b:c", ":", "é"] {
      let key = ListBook.CampaignKey(organisation: organisation, campaign: campaign)
      #expect(ListBook.CampaignKey(key.description) == key)
    }
  }

  @Test(arguments: ["", "x", "3:o:c", "1:oc", "-1:o:c", "99999999999999999999:o:c", "1:o"])
  func brokenCampaignKeys(text: String) { #expect(ListBook.CampaignKey(text) == nil) }
}

@Suite struct BulkSenderTests {
  private static let good = [
    HeaderField(name: "list-unsubscribe", value: "<mailto:u@b.example>, <https://b.example/u/1>"),
    HeaderField(name: "List-Unsubscribe-Post", value: "List-Unsubscribe=One-Click"),
  ]

  /// (List-Unsubscribe, List-Unsubscribe-Post, one-click)
  @Test(
    arguments: [
      ("<https://b.example/u>", "List-Unsubscribe=One-Click", true), ("<HTTPS://b.example/u>", " list-unsubscribe = one-click ", true),
      ("<mailto:u@b.example>,<https://b.example/u>", "List-Unsubscribe=One-Click", true),
      ("<http://b.example/u>", "List-Unsubscribe=One-Click", false), ("<mailto:u@b.example>", "List-Unsubscribe=One-Click", false),
      ("https://b.example/u", "List-Unsubscribe=One-Click", false), ("<https://b.example/u>", nil, false),
      ("<https://b.example/u>", "yes", false), (nil, "List-Unsubscribe=One-Click", false),
    ] as [(String?, String?, Bool)])
  func oneClick(uri: String?, post: String?, expected: Bool) {
    var headers: [HeaderField] = []
    if let uri { headers.append(HeaderField(name: "List-Unsubscribe", value: uri)) }
    if let post { headers.append(HeaderField(name: "List-Unsubscribe-Post", value: post)) }
    #expect(BulkSenders.hasOneClick(headers) == expected)
  }

  private func submission(to: String, _ headers: [HeaderField], isPromotional: Bool = true, domain: String = "production") throws
    -> Submission
  {
    var content = MessageContent(authorName: nil, authorAddress: "n@sender.example", subject: "s")
    content.headers = headers
    var submission = Submission(
      messageID: "m", organisation: "o", recipient: try #require(EmailAddress(to)), pool: "p", dkimDomain: "sender.example",
      content: content, tags: [], band: .third, deliveryDomain: domain)
    submission.isPromotional = isPromotional
    return submission
  }

  @Test func onlyPromotionalMailOfBulkSendersIsWarnedOf() async throws {
    let bulk = BulkSenders { organisation, provider in organisation == "o" && provider == .gmail }
    #expect(await bulk.warnings(about: try submission(to: "u@gmail.com", [])).map(\.code) == [BulkSenders.oneClickMissing])
    #expect(await bulk.warnings(about: try submission(to: "u@gmail.com", Self.good)).isEmpty)
    #expect(await bulk.warnings(about: try submission(to: "u@yahoo.com", [])).isEmpty)
    #expect(await bulk.warnings(about: try submission(to: "u@b.example", [])).isEmpty)
    #expect(await bulk.warnings(about: try submission(to: "u@gmail.com", [], isPromotional: false)).isEmpty)
    #expect(await bulk.warnings(about: try submission(to: "u@gmail.com", [], domain: "member_test")).isEmpty)
    #expect(bulk.missingOneClick == [.gmail: 1])
  }

  @Test(
    arguments: [
      ("campaign:jh7abcdefghijklm:all:news", "jh7abcdefghijklm"), ("campaign:short:all:news", nil), ("campaign:jh7abcdefghijklm:all", nil),
      ("automation:jh7abcdefghijklm:all:news", nil), ("campaign:JH7ABCDEFGHIJKLM:all:news", nil),
    ] as [(String, String?)])
  func theCampaignOfFeedbackID(value: String, campaign: String?) {
    #expect(BulkSenders.campaign([HeaderField(name: "Feedback-ID", value: value)]) == campaign)
  }
}
