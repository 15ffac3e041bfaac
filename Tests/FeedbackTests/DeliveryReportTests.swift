import DeliveryPolicy
import Feedback
import Testing

@Suite struct DeliveryReportTests {
  private static let failed = """
    Final-Recipient: rfc822; cat@example.net
    Action: failed
    Status: 5.1.1
    Diagnostic-Code: smtp; 550 5.1.1 <cat@example.net>: Recipient address rejected:
        User unknown
    """

  @Test(arguments: Mail.ends) func aReportIsReadInAnyLineEnds(_ end: String) {
    let feedback = FeedbackReport.read(Mail.octets(Mail.report(Self.failed), end: end))
    #expect(feedback.kind == .bounce)
    #expect(
      feedback.recipients == [
        .init(
          address: "cat@example.net", original: nil, action: .failed, status: "5.1.1", replyClass: .invalidRecipient, hardness: .hard,
          diagnostic: "550 5.1.1 <cat@example.net>: Recipient address rejected: User unknown")
      ])
  }

  @Test func hintsComeInOrderOfTrust() {
    let feedback = Mail.read(Mail.report(Self.failed))
    #expect(
      feedback.hints == [
        .returnPath("bounce+token@out.example"), .returnPath("bounce+abc@out.example"), .cfblFeedbackID("1a2b3c"),
        .feedbackID("7:camp:org:owlat"), .messageID("<token@out.example>"), .recipient("cat@example.net"),
      ])
    #expect(feedback.returned.messageID == "<token@out.example>")
  }

  struct Action: Sendable, CustomTestStringConvertible {
    let fields: String
    let kind: Feedback.Kind
    let actions: [Feedback.Action]
    var testDescription: String { fields }
  }

  @Test(arguments: [
    Action(fields: "Final-Recipient: rfc822; a@b.example\nAction: delayed\nStatus: 4.4.1", kind: .delay, actions: [.delayed]),
    Action(fields: "Final-Recipient: rfc822; a@b.example\nAction: delivered\nStatus: 2.0.0", kind: .successDSN, actions: [.delivered]),
    Action(
      fields: "Final-Recipient: rfc822; a@b.example\nAction: relayed (to non-DSN)\nStatus: 2.0.0", kind: .successDSN, actions: [.relayed]),
    Action(fields: "Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 4.4.7", kind: .bounce, actions: [.failed]),
    Action(fields: "Final-Recipient: rfc822; a@b.example\nStatus: 5.1.1", kind: .bounce, actions: [.failed]),
    Action(
      fields:
        "Final-Recipient: rfc822; a@b.example\nAction: delayed\nStatus: 4.4.1\n\nFinal-Recipient: rfc822; c@d.example\nAction: failed\nStatus: 5.1.1",
      kind: .bounce, actions: [.delayed, .failed]),
    // No empty line between two recipients.
    Action(
      fields:
        "Original-Recipient: rfc822; a@b.example\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n"
        + "Original-Recipient: rfc822; c@d.example\nFinal-Recipient: rfc822; c@d.example\nAction: failed\nStatus: 5.2.2",
      kind: .bounce, actions: [.failed, .failed]),
    // An empty line within one.
    Action(fields: "Final-Recipient: rfc822; a@b.example\n\nAction: failed\nStatus: 5.1.1", kind: .bounce, actions: [.failed]),
  ]) func actionsDecideTheKind(_ given: Action) {
    let feedback = Mail.read(Mail.report(given.fields, text: "See below."))
    #expect(feedback.kind == given.kind)
    #expect(feedback.recipients.map(\.action) == given.actions)
    #expect(Set(feedback.recipients.map(\.address)).count == given.actions.count)
  }

  @Test(arguments: [
    ("rfc822; <Cat@Example.net>", "Cat@Example.net"), ("RFC822;cat@example.net (The Cat)", "cat@example.net"),
    ("x-local; c=US;a= ;p=X;o=Y;dda:SMTP=cat@example.net;", "cat@example.net"), ("cat@example.net", "cat@example.net"),
    ("rfc822; \"odd cat\"@example.net", "\"odd cat\"@example.net"), ("rfc822; cat@#example.net", "cat@#example.net"),
  ]) func recipientFieldsAreReadAsTheyAreWritten(_ field: String, _ address: String) {
    let feedback = Mail.read(Mail.report("Final-Recipient: \(field)\nAction: failed\nStatus: 5.1.1"))
    #expect(feedback.recipients.map(\.address) == [address])
  }

  @Test func whenTheFinalRecipientIsNoAddressTheOriginalIs() {
    let feedback = Mail.read(
      Mail.report("Original-Recipient: rfc822; cat@example.net\nFinal-Recipient: x-unix; /var/mail/cat\nAction: failed\nStatus: 5.2.2"))
    #expect(feedback.recipients.map(\.address) == ["cat@example.net"])
    #expect(feedback.recipients.first?.replyClass == .mailboxFull)
  }

  @Test func aBetterCodeInTheDiagnosticReplacesAGeneralOne() {
    let feedback = Mail.read(
      Mail.report("Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 552 5.2.2 over quota"))
    #expect(feedback.recipients.first?.status == "5.2.2")
    #expect(feedback.recipients.first?.hardness == .soft)
  }

  @Test func aReportThatLostItsTypesIsStillOne() {
    let mail = Mail.report(Self.failed).replacing("message/delivery-status", with: "text/plain").replacing(
      "message/rfc822", with: "text/plain")
    let feedback = Mail.read(mail)
    #expect(feedback.kind == .bounce)
    #expect(feedback.recipients.map(\.address) == ["cat@example.net"])
  }

  @Test func aReportWithoutItsBoundaryIsStillOne() {
    for boundary in ["", "; boundary=other"] {
      let feedback = Mail.read(Mail.report(Self.failed).replacing("; boundary=\"=_b\"", with: boundary))
      #expect(feedback.recipients.map(\.address) == ["cat@example.net"], "\(boundary)")
    }
  }

  @Test func addressesOfTheReturnedMessageAreNoRecipients() {
    let text = """
      Hi. This is the program at mx.example.

      <cat@example.net>:
      Sorry, no mailbox here by that name. (#5.1.1)

      --- Below this line is a copy of the message.

      Return-Path: <bounce+token@out.example>
      Received: from out.example by mx.example
      From: dog@out.example
      To: somebody@else.example

      Write to third@else.example: it failed
      """
    let feedback = Mail.read(Mail.notice(text))
    #expect(feedback.recipients.map(\.address) == ["cat@example.net"])
    #expect(feedback.returned.returnPath == "bounce+token@out.example")
  }
}
