import DeliveryPolicy
import Feedback
import MailFormat
import MailModel
import TestSupport
import Testing

@testable import supervisor

/// What a report may do, by what it proves and who wrote it.
@Suite struct FeedbackJudgementTests {
  private static let now: Milliseconds = 1_800_000_000_000

  private func message(acceptedAt: Milliseconds = now - 1000, host: String? = "mx.d.example") -> HistoryStore.Departed {
    let record = MessageRecord(
      messageID: "m", workAttemptID: nil, organisation: "o", recipient: "u@d.example", pool: "p", dkimDomain: "s.example",
      returnPathLocal: "l", returnPathHost: "h", acceptedAt: acceptedAt, expiresAt: .max, deliveryDomain: "production", contentSize: 1)
    var result = AttemptResult(kind: .replied, sourceIP: "192.0.2.1", at: acceptedAt)
    result.host = host
    return .init(number: MessageNumber(1), state: .delivered, serial: 1, record: record, result: result, endedAt: acceptedAt)
  }

  private func reporter(_ address: String, dkim: String? = nil, spf: String? = nil) -> Reporter {
    let parts = address.split(separator: "@").map(String.init)
    return Reporter(
      MailAuthentication(
        spf: spf == nil ? .none : .pass, spfDomain: spf ?? "",
        dkim: dkim.map { [DKIMVerdict(result: .pass, domain: $0, selector: "s")] } ?? [], dmarc: .none, author: parts[1],
        authorLocalPart: parts[0]))
  }

  private func judge(
    _ text: String, _ evidence: FeedbackDesk.Evidence, _ reporter: Reporter = Reporter(nil), _ message: HistoryStore.Departed? = nil
  ) -> String {
    let report = FeedbackReport.read(Array(text.utf8))
    switch FeedbackDesk.judge(
      report, about: message ?? self.message(), evidence, reporter, providers: ProviderTable(), now: Self.now)
    {
    case .count(let kind): return kind.rawValue
    case .take(.bounce, let speaksOfIP): return "bounce\(speaksOfIP ? " ip" : "")"
    case .take(.complaint(let complaint), let speaksOfIP):
      return "complaint\(speaksOfIP ? " ip" : "") \(complaint.sourceISP?.rawValue ?? "-")"
    }
  }

  private let complaint = ReturnedMail.complaint(recipient: "u@d.example")
  private let bounce = ReturnedMail.bounce(recipient: "u@d.example")

  @Test func tokensOfTheEnvelopeAreEnoughForTheOrganisation() {
    #expect(judge(bounce, .envelopeReturnPath) == "bounce ip")
    #expect(judge(complaint, .envelopeReturnPath) == "complaint other")
    #expect(judge(complaint, .envelopeFeedback) == "complaint other")
    #expect(judge(complaint, .token) == "complaint other")
    #expect(judge(bounce, .token) == "bounce")
    let own = reporter("abuse@mail.d.example", dkim: "d.example")
    #expect(judge(complaint, .envelopeFeedback, own) == "complaint ip other" && judge(bounce, .token, own) == "bounce ip")
  }

  /// Everybody whom a mail reached knows its Message-ID.
  @Test func aMessageIDNeedsAVouchedWriter() {
    #expect(judge(complaint, .messageID) == "unproven" && judge(bounce, .messageID) == "unproven")
    #expect(judge(complaint, .messageID, reporter("a@evil.example", dkim: "evil.example")) == "unproven")
    #expect(judge(complaint, .messageID, reporter("fbl@d.example", spf: "d.example")) == "complaint ip other")
    #expect(judge(complaint, .messageID, reporter("feedback@arf.mail.yahoo.com", dkim: "arf.mail.yahoo.com")) == "complaint ip yahoo")
  }

  /// (author, DKIM, SPF, host, vouched for)
  @Test(
    arguments: [
      ("fbl@d.example", "d.example", nil, "mx.d.example", true), ("fbl@d.example", nil, "bounces.d.example", "mx.d.example", true),
      ("fbl@d.example", nil, nil, "mx.d.example", false), ("fbl@d.example", "evil.example", "evil.example", "mx.d.example", false),
      ("fbl@hoster.example", "hoster.example", nil, "mx1.hoster.example", true),
      ("fbl@hoster.example", "hoster.example", nil, "mx.d.example", false),
      // Anyone has a mailbox there.
      ("a@outlook.com", "outlook.com", nil, "d-example.mail.protection.outlook.com", false),
      ("a@hotmail.com", "hotmail.com", nil, "d-example.mail.protection.outlook.com", false),
      ("staff@hotmail.com", "hotmail.com", nil, "d-example.mail.protection.outlook.com", true),
      ("feedbackloop@comcastfbl.senderscore.net", "senderscore.net", nil, "mx1.comcast.net", true),
      ("a@notsenderscore.net", "notsenderscore.net", nil, "mx1.comcast.net", false),
    ] as [(String, String?, String?, String, Bool)])
  func whoIsVouchedFor(author: String, dkim: String?, spf: String?, host: String, expected: Bool) {
    let provider = ProviderTable().provider(mx: host)
    #expect(reporter(author, dkim: dkim, spf: spf).isVouched(recipient: "u@d.example", host: host, provider: provider) == expected)
  }

  /// Whose host took the message stands over the report's words; nothing is said of a message that no host took.
  @Test func theProviderOfAComplaint() {
    let words = complaint.replacing("User-Agent: Provider/1.0", with: "User-Agent: Yahoo!-Mail-Feedback/1.0")
    #expect(judge(words, .token) == "complaint yahoo")
    #expect(judge(words, .token, Reporter(nil), message(host: "gmail-smtp-in.l.google.com")) == "complaint gmail")
    #expect(judge(words, .token, reporter("staff@hotmail.com", dkim: "hotmail.com")) == "complaint ip microsoft")
    #expect(judge(complaint, .token, Reporter(nil), message(host: nil)) == "complaint -")
  }

  /// A token lives 16 days from acceptance, whatever it is and whoever brings it.
  @Test(arguments: [FeedbackDesk.Evidence.envelopeReturnPath, .envelopeFeedback, .token, .messageID])
  func tokensExpire(evidence: FeedbackDesk.Evidence) {
    let own = reporter("fbl@d.example", dkim: "d.example")
    let life = FeedbackDesk.tokenLife
    #expect(life == 16 * 86_400_000)
    for text in [complaint, bounce] {
      #expect(judge(text, evidence, own, message(acceptedAt: Self.now - life)).hasSuffix("expired") == false)
      #expect(judge(text, evidence, own, message(acceptedAt: Self.now - life - 1)) == "expired")
    }
  }
}
