import DeliveryPolicy
import MailModel
import Testing

/// Complaints by campaign and volume by provider: the edges of each figure.
@Suite struct ListFigureTests {
  private static let day = UTCDay.length

  /// (deliveries, complaints, told)
  @Test(arguments: [
    (99, 99, false), (100, 0, false), (100, 1, true), (333, 1, true), (334, 1, false), (1000, 3, false), (1000, 4, true),
    (10_000, 30, false), (10_000, 31, true), (0, 5, false),
  ])
  func aCampaignIsToldAbove3OfAThousand(delivered: Int, complained: Int, told: Bool) {
    var campaign = CampaignComplaints()
    var tellings = 0
    for _ in 0..<delivered where campaign.deliver(now: 1) { tellings += 1 }
    for _ in 0..<complained where campaign.complain(now: 2) { tellings += 1 }
    #expect((tellings == 1) == told && tellings <= 1)
    #expect(campaign.delivered == delivered && campaign.complained == complained)
  }

  /// Complaints that came before there were enough deliveries count with the hundredth.
  @Test func theHundredthDeliveryTellsToo() {
    var campaign = CampaignComplaints()
    let isEarly = campaign.complain(now: 1)
    #expect(!isEarly)
    for _ in 0..<99 {
      let isTold = campaign.deliver(now: 1)
      #expect(!isTold)
    }
    let isTold = campaign.deliver(now: 1)
    #expect(isTold && campaign.toldAt == 1)
  }

  @Test func itIsToldAgainAfter30Days() {
    var campaign = CampaignComplaints()
    for _ in 0..<100 { _ = campaign.deliver(now: 1) }
    let isFirst = campaign.complain(now: 1)
    #expect(isFirst)
    let isSilent = campaign.complain(now: 30 * Self.day)
    #expect(!isSilent)
    let isAgain = campaign.complain(now: 30 * Self.day + 1)
    #expect(isAgain)
    // Silent for 30 days, it is forgotten.
    let isTold = campaign.complain(now: 61 * Self.day)
    #expect(!isTold && campaign.delivered == 0 && campaign.complained == 1)
  }

  @Test func itsTextIsTheCampaign() {
    var campaign = CampaignComplaints()
    for _ in 0..<100 { _ = campaign.deliver(now: 7) }
    _ = campaign.complain(now: 8)
    #expect(CampaignComplaints(text: campaign.text) == campaign)
    for text in ["", "c1", "c2 1 1 1 1", "c1 1 1 1", "c1 -1 0 0 0", "c1 1 1 1 1 1", "c1 9223372036854775807 1 1 1", "c1 x 1 1 1"] {
      #expect(CampaignComplaints(text: text) == nil, "\(text)")
    }
  }

  @Test func moreThan5000InADayIsABulkSender() {
    var volume = BulkVolume()
    for _ in 0..<5_000 {
      let isAbove = volume.deliver(now: 5)
      #expect(!isAbove)
    }
    #expect(!volume.isBulk && volume.today(now: 6) == 5_000)
    let isFirst = volume.deliver(now: 7)
    #expect(isFirst && volume.isBulk && volume.bulkSince == 7)
    let isSecond = volume.deliver(now: 8)
    #expect(!isSecond)
    // It stays one; another day above is told again.
    let isAnother = volume.deliver(now: Self.day)
    #expect(!isAnother && volume.isBulk && volume.today(now: Self.day) == 1)
    for _ in 0..<4_999 { _ = volume.deliver(now: Self.day) }
    let isAgain = volume.deliver(now: Self.day)
    #expect(isAgain && volume.bulkSince == 7)
    #expect(!volume.isIdle(now: 100 * Self.day))
  }

  /// 5,000 a day for ever is none, and a day that is over is forgotten.
  @Test func daysDoNotAddUp() {
    var volume = BulkVolume()
    var above = 0
    for day in 0..<3 { for _ in 0..<5_000 where volume.deliver(now: Self.day * Int64(day)) { above += 1 } }
    #expect(above == 0)
    #expect(!volume.isBulk && volume.isIdle(now: 3 * Self.day) && !volume.isIdle(now: 2 * Self.day))
    // A clock that steps back stays in the day.
    let isAbove = volume.deliver(now: Self.day)
    #expect(isAbove)
    #expect(BulkVolume(text: volume.text) == volume)
    for text in ["", "v1 1 1", "v2 1 1 1", "v1 1 1 -1", "v1 9999999 1 1", "v1 1 1 1 1"] {
      #expect(BulkVolume(text: text) == nil, "\(text)")
    }
  }

  @Test func consumersOfGmailAndYahoo() {
    #expect(ConsumerDomain.provider(of: "GMail.com") == .gmail && ConsumerDomain.provider(of: "ymail.com") == .yahoo)
    #expect(ConsumerDomain.provider(of: "gmail.com.example") == nil && ConsumerDomain.provider(of: "outlook.com") == nil)
  }
}
