import DeliveryPolicy
import Foundation
import MailModel
import Testing

/// What the large providers' own refusals lead to, and for how long (reference "providers", section 2), and which hosts are theirs.
@Suite struct ProviderReactionTests {
  /// (provider, reply, class, reaction, pause in minutes; 0 = none)
  private static let cases: [(String?, String, ReplyClass, ReplyReaction, Int64)] = [
    ("google", "421 4.7.28 unusual rate of unsolicited mail originating from your IP", .rateLimited, .slow, 30),
    ("google", "550 5.7.28 unusual rate of unsolicited mail, it has been blocked", .rateLimited, .pauseLane, 60),
    ("google", "421 4.7.0 very low reputation of the sending IP address", .ipReputation, .pauseLane, 60),
    ("google", "421 4.7.0 Try again later, closing connection", .ipReputation, .slow, 30),
    ("google", "421 4.7.23 no PTR record", .ipReputation, .pauseIP, 60),
    ("google", "421 4.7.0 TLS required for RCPT domain", .tls, .retryWithTLS, 0),
    ("google", "421 4.7.40 no DMARC record", .authFailure, .pauseOrganisation, 30),
    ("google", "550 5.2.1 The account is disabled", .suspended, .suppress, 0),
    ("microsoft", "451 4.7.650 temporarily rate limited due to IP reputation (S775)", .ipReputation, .slow, 90),
    ("microsoft", "451 4.7.652 exceeded the maximum number of connections (S3115)", .rateLimited, .slow, 60),
    ("microsoft", "451 4.7.500 Server busy. Please try again later from [192.0.2.7]", .network, .slow, 15),
    ("microsoft", "451 4.3.2 throttled", .network, .slow, 20),
    ("microsoft", "550 5.7.1 part of their network is on our block list (S3140)", .ipReputation, .otherIP, 120),
    ("microsoft", "550 5.7.640 Access denied", .ipReputation, .otherIP, 120),
    ("microsoft", "550 5.7.649 Access denied", .ipReputation, .otherIP, 120),
    ("microsoft", "550 5.7.650 Access denied", .ipReputation, .otherIP, 90),
    ("microsoft", "550 5.7.515 does not meet the required authentication level", .authFailure, .pauseOrganisation, 30),
    ("microsoft", "421 4.7.0 Access denied, please try again later", .ipReputation, .pauseLane, 60),
    ("yahoo", "421 4.7.0 [TSS04] temporarily deferred due to user complaints", .rateLimited, .pauseLane, 120),
    ("yahoo", "421 4.7.0 [TS02] deferred", .rateLimited, .slow, 30),
    ("yahoo", "553 5.7.2 [TSS09] All messages will be permanently deferred", .ipReputation, .otherIP, 240),
    ("yahoo", "553 5.7.1 [BL21] Spamhaus", .ipReputation, .otherIP, 120),
    ("yahoo_japan", "421 VS98-IP0 deferred", .rateLimited, .pauseLane, 60),
    ("yahoo_japan", "421 Timeout waiting for command", .network, .slow, 30),
    ("apple", "451 4.7.1 Service unavailable - try again later", .rateLimited, .slow, 15),
    ("apple", "554 5.7.1 the sending domain is on the Spamhaus DBL", .ipReputation, .pauseOrganisation, 240),
    ("comcast", "421 4.1.0 Throttled RL000001", .rateLimited, .slow, 120),
    ("comcast", "421 4.1.0 Throttled RL000010", .rateLimited, .pauseOrganisation, 5),
    ("comcast", "554 BL000001", .ipReputation, .otherIP, 120),
    ("gmx", "421 Reject due to policy violations", .ipReputation, .pauseLane, 60),
    ("gmx", "554 IP address is block listed.", .ipReputation, .otherIP, 120),
    ("gmx", "421 Rate limit reached. Please try again later", .rateLimited, .slow, 120),
    ("orange", "421 Service refused OFR_999 [999]", .ipReputation, .pauseLane, 120),
    ("orange", "421 Trop de connexions OFR004_104 [104]", .rateLimited, .slow, 60),
    ("orange", "421 Service refuse OFR005_505 [505]", .unknown, .pauseLane, 60),
    ("mimecast", "451 Internal resources are temporarily unavailable", .ipReputation, .retry, 0),
    ("godaddy", "554 blocked for the day IB111", .ipReputation, .otherIP, 120),
    ("cox", "554 AUP#CDRBL", .ipReputation, .otherIP, 120),
    ("qq", "550 Ip frequency limited", .rateLimited, .pauseLane, 60),
    ("netease", "451 DT:SPM please try again", .spamContent, .pauseLane, 15),
    ("netease", "554 DT:SPM", .spamContent, .drop, 0),
    ("netease", "450 MI:DMC too many in this session", .rateLimited, .pauseLane, 60),
    (nil, "554 RTR:BL https://postmaster.aol.com/error-codes", .ipReputation, .otherIP, 120),
    (nil, "521 b.example does not accept mail", .noMX, .suppress, 0),
    (nil, "556 5.1.10 null MX", .noMX, .suppress, 0),
  ]

  @Test(arguments: cases.indices)
  func reactions(index: Int) {
    let (provider, text, replyClass, reaction, minutes) = Self.cases[index]
    let verdict = ReplyClassification.verdict(text: text, providerName: provider)
    #expect(verdict.replyClass == replyClass && verdict.reaction == reaction, "\(verdict)")
    #expect((verdict.pause ?? 0) == minutes * 60_000, "\(verdict)")
  }

  @Test(arguments: [
    ("gmail-smtp-in.l.google.com", MailboxProvider.gmail), ("a.olc.protection.outlook.com", .microsoft),
    ("a.mail.protection.outlook.com", .microsoft), ("a-b.c-v1.mx.microsoft", .microsoft), ("mta5.am0.yahoodns.net", .yahoo),
    ("mx01.mail.icloud.com", .apple), ("mx1.comcast.net", .comcast), ("mx00.gmx.net", .gmx), ("mx-ha02.web.de", .gmx),
    ("smtp-in.orange.fr", .orange), ("smtpz4.laposte.net", .laposte), ("eu-smtp-inbound-1.mimecast.com", .mimecast),
    ("za-smtp-inbound-1.mimecast.co.za", .mimecast), ("d1.ess.barracudanetworks.com", .barracuda), ("mx1.b.pphosted.com", .proofpoint),
    ("mx1-us1.ppe-hosted.com", .proofpoint), ("mx.kpnmail.nl", .kpn), ("mx3.qq.com", .qq), ("163mx01.mxmail.netease.com", .netease),
    ("smtp.secureserver.net", .godaddy), ("cxr.mx.a.cloudfilter.net", .cox), ("mx0.charter.net", .spectrum),
    ("mx.microsoft.example", .other),
  ])
  func hosts(name: String, provider: MailboxProvider) { #expect(ProviderTable().provider(mx: name) == provider) }

  /// Those that refuse plain sessions get none, and no provider more than its peers' figures say.
  @Test func profilesDemandWhatProvidersDo() {
    for provider in [MailboxProvider.gmail, .comcast, .gmx, .orange, .barracuda, .kpn, .netvigator, .qq, .netease] {
      #expect(ProviderTable()[provider].tlsMode == .require, "\(provider)")
    }
    let limits: [(MailboxProvider, Int, Int)] = [
      (.gmail, 5, 50), (.microsoft, 5, 100), (.yahooJapan, 2, 20), (.comcast, 25, 1000), (.gmx, 4, 20), (.orange, 2, 100),
      (.mimecast, 10, 100),
      (.barracuda, 10, 15), (.kpn, 10, 10), (.netvigator, 5, 10), (.qq, 4, 8), (.netease, 4, 7), (.cox, 10, 100), (.other, 10, 100),
    ]
    for (provider, sessions, messages) in limits {
      let profile = ProviderTable()[provider]
      #expect(profile.maxConnections <= sessions && profile.maxDeliveriesPerConnection <= messages, "\(provider)")
      #expect(profile.floor <= profile.defaultRate && profile.defaultRate <= profile.ceiling, "\(provider)")
    }
  }

  /// A reply is a stranger's: 8 kB made to match as badly as can be cost no more than the bound on what is looked at allows. In
  /// processor time of this thread, and unoptimised: optimised it is under a millisecond.
  @Test(arguments: [
    "mailbox ", "ip ", "account user mailbox recipient address ", "recipient address ", "limite ", "us ", "1.1.1.1.1 ", "5.7.1 ", ": 4",
    "(x ",
    "a@b:", "http://a/ip/mail/", "é", "a", "-", "[",
  ])
  func hostileTextsCostLittle(part: String) {
    let text = "550 " + String(repeating: part, count: 8192 / part.utf8.count)
    _ = ReplyClassification.verdict(text: "550 first", providerName: nil)
    func now() -> Double {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
    let costs = (0..<3).map { _ in
      let begin = now()
      _ = ReplyClassification.verdict(text: text, providerName: nil)
      return now() - begin
    }
    #expect((costs.min() ?? 1) < 0.2, "\(costs)")
  }
}
