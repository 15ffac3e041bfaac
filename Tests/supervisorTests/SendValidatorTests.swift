import Foundation
import MailModel
import Testing

@testable import supervisor

@Suite struct SendValidatorTests {
  let validator = SendValidator(pools: ["transactional", "campaign"], maxAge: 345_600_000)

  static var good: [String: Any] {
    [
      "messageId": "m-1", "to": "u@b.example", "from": "News <news@sender.example>", "subject": "Hi", "html": "<p>Hi</p>",
      "ipPool": "transactional", "organizationId": "acme", "dkimDomain": "sender.example",
    ]
  }

  func judge(_ changes: [String: Any], mode: SendMode = .send) throws -> Submission {
    var body = Self.good
    for (name, value) in changes { body[name] = value is NSNull ? nil : value }
    let decoded = try JSONDecoder().decode(SendBody.self, from: JSONSerialization.data(withJSONObject: body))
    return try validator.validate(decoded, mode: mode, now: 1_000_000)
  }

  func refusal(_ changes: [String: Any], mode: SendMode = .send) -> String {
    do {
      _ = try judge(changes, mode: mode)
      return "accepted"
    } catch let error as APIError {
      return "\(error.status) \(error.text)"
    } catch { return "\(error)" }
  }

  static let table: [(String, any Sendable, String)] = [
    ("messageId", 5, "400 Missing required fields: messageId, to, from, subject, html"),
    ("messageId", "", "400 Missing required fields: messageId, to, from, subject, html"),
    ("messageId", "a b", "400 messageId must be 1 to 200 printable ASCII characters without spaces, < and >"),
    ("messageId", "a\r\nb", "400 messageId must be 1 to 200 printable ASCII characters without spaces, < and >"),
    ("messageId", String(repeating: "x", count: 201), "400 messageId must be 1 to 200 printable ASCII characters without spaces, < and >"),
    ("to", "x", "400 Invalid \"to\" email address format"),
    ("to", "a@b.example\r\nRCPT TO:<x@y.example>", "400 Invalid \"to\" email address format"),
    ("to", ["a@b.example"], "400 Missing required fields: messageId, to, from, subject, html"),
    ("from", "x", "400 Invalid \"from\" email address format"),
    ("from", "A\r\nB <a@b.test>", "400 Invalid \"from\" email address format"),
    ("from", "A <a@b.test>, B <b@b.test>", "400 Invalid \"from\" email address format"),
    ("subject", "a\r\nBcc: x@y.example", "400 subject must not contain line breaks or control characters"),
    ("subject", String(repeating: "s", count: 999), "400 subject must be at most 998 octets"),
    ("replyTo", "x", "400 Invalid \"replyTo\" email address format"),
    ("replyTo", 4, "400 Invalid \"replyTo\" email address format"),
    ("text", 4, "400 text must be a string"),
    ("organizationId", "", "400 Missing required field: organizationId"),
    ("organizationId", "a\nb", "400 organizationId must be 1 to 128 characters without control characters"),
    ("organizationId", "*", "400 organizationId must not be *"),
    ("organizationId", "system", "400 organizationId must not be system: system mail must use /send/system"),
    ("organizationId", "__postmaster__", "400 organizationId must not be __postmaster__: it is reserved"),
    ("organizationId", "postbox", "400 Postbox mail must use /send/postbox"),
    ("dkimDomain", "", "400 Missing required field: dkimDomain"),
    ("dkimDomain", "no domain", "400 dkimDomain must be a domain name"),
    ("ipPool", "x", "400 ipPool must be \"transactional\" or \"campaign\""),
    ("messageType", "x", "400 Missing or invalid governed messageType"),
    ("deliveryDomain", "x", "400 Missing or invalid governed deliveryDomain"),
    ("workAttemptId", "", "400 workAttemptId must be 1 to 128 printable ASCII characters without spaces, < and >"),
    ("sealedMimeBase64", "AAAA", "400 sealedMimeBase64 is only accepted by /send/postbox"),
    ("headers", "x", "400 headers must be an object of strings"),
    ("headers", ["X-A": "1\r\nX-B: 2"], "400 headers.X-A must not contain line breaks or control characters"),
    ("headers", ["X A": "1"], "400 headers has an invalid name"),
    ("headers", ["X-A": String(repeating: "v", count: 999)], "400 headers.X-A must be at most 998 octets"),
    ("headers", ["Message-ID": "no"], "400 headers.Message-ID must be <left@right>"),
    ("attachments", "x", "400 attachments must be a list of objects"),
    ("attachments", [["filename": "a", "contentType": "text/plain", "content": "!!"]], "400 attachments[0].content must be valid base64"),
    (
      "attachments", [["filename": "a\r\n", "contentType": "text/plain", "content": ""]],
      "400 attachments[0].filename must be 1 to 255 octets without control characters"
    ),
    (
      "attachments", [["filename": "a", "contentType": "x\r\ny/z", "content": ""]],
      "400 attachments[0].contentType must be a media type like application/pdf"
    ),
    ("tags", [String(repeating: "t", count: 65)], "400 tags must be at most 20 of at most 64 octets"),
    ("sendAt", "tomorrow", "400 sendAt must be RFC 3339 or Unix milliseconds"),
    ("sendAt", 1e13, "400 sendAt must be at most 30 days ahead"),
    ("deliverBy", 1000, "400 deliverBy must lie after now and after sendAt"),
  ]

  @Test(arguments: table.indices) func refuses(index: Int) {
    let (field, value, text) = Self.table[index]
    #expect(refusal([field: value]) == text)
  }

  /// A line break in any field but the three bodies is refused by name: none of them may reach a header, an envelope, a key of
  /// Redis or a log line.
  static let everyField: [(path: String, change: @Sendable (String) -> [String: Any], mode: SendMode)] = {
    func plain(_ name: String, _ value: String) -> (String, @Sendable (String) -> [String: Any], SendMode) {
      (name, { [name: value + $0] }, .send)
    }
    func attachment(_ name: String) -> (String, @Sendable (String) -> [String: Any], SendMode) {
      (
        "attachments[0].\(name)",
        { end in
          var item = ["filename": "a.txt", "contentType": "text/plain", "content": "YQ==", "contentId": "c1", "disposition": "inline"]
          item[name, default: ""] += end
          return ["attachments": [item]]
        }, .send
      )
    }
    return [
      plain("messageId", "m"), plain("to", "u@b.example"), plain("from", "n@sender.example"), plain("subject", "s"),
      plain("replyTo", "r@b.example"), plain("organizationId", "acme"), plain("dkimDomain", "sender.example"),
      plain("ipPool", "transactional"), plain("messageType", "campaign"), plain("deliveryDomain", "production"),
      plain("workAttemptId", "w"), plain("campaignId", "c"), plain("sendAt", "1970-01-02T00:00:00Z"),
      plain("deliverBy", "1970-01-03T00:00:00Z"),
      ("headers.X-A", { ["headers": ["X-A": "v" + $0]] }, .send), ("headers has", { ["headers": ["X-A" + $0: "v"]] }, .send),
      ("headers.Message-ID", { ["headers": ["Message-ID": "<a@b>" + $0]] }, .send),
      ("tags", { ["tags": ["t" + $0]] }, .send),
      attachment("filename"), attachment("contentType"), attachment("contentId"), attachment("disposition"),
      (
        "sealedMimeBase64",
        {
          [
            "organizationId": "postbox", "allowedFromAddresses": ["news@sender.example"], "sealedMimeBase64": "QQ==" + $0,
          ]
        }, .postbox
      ),
      ("From address not", { ["organizationId": "postbox", "allowedFromAddresses": ["news@sender.example" + $0]] }, .postbox),
    ]
  }()

  @Test(arguments: everyField.indices, ["\r\nX-Evil: 1", "\n", "\r", "\n.\r\n"])
  func aLineBreakIsRefusedInEveryField(index: Int, end: String) {
    let (path, change, mode) = Self.everyField[index]
    let text = refusal(change(end), mode: mode)
    #expect(text.hasPrefix("400 ") || text.hasPrefix("403 "), "\(path): \(text)")
    #expect(text.contains(path), "\(path) is not named: \(text)")
    // Good without it, so that it is the line break that is refused (sealed mail has its own tests).
    if path != "sealedMimeBase64" { #expect(refusal(change(""), mode: mode) == "accepted") }
  }

  @Test func theBodiesMayHaveLineBreaks() {
    for field in ["html", "text", "amp"] { #expect(refusal([field: "a\r\n.\r\nb\nc\r"]) == "accepted") }
    // Base64 comes in lines in MIME's own world.
    let attachment = ["filename": "a.txt", "contentType": "text/plain", "content": "YWJj\r\nZGVm\r\n"]
    #expect(refusal(["attachments": [attachment]]) == "accepted")
  }

  @Test func modes() {
    #expect(refusal(["organizationId": "x"], mode: .system) == "403 System intake requires the master credential")
    #expect(
      refusal(["organizationId": "system", "routingLease": "x"], mode: .system) == "400 System intake does not accept tenant routing leases"
    )
    #expect(refusal(["organizationId": "system"], mode: .postbox) == "403 Postbox intake requires the master credential")
    #expect(refusal(["organizationId": "postbox"], mode: .postbox) == "403 From address not authorized for this mailbox")
    let bound: [String: Any] = ["organizationId": "postbox", "allowedFromAddresses": ["NEWS@sender.example"]]
    #expect(refusal(bound, mode: .postbox) == "accepted")
    #expect(refusal(bound.merging(["sealedMimeBase64": "!!"]) { $1 }, mode: .postbox) == "400 sealedMimeBase64 must be valid base64")
  }

  @Test func sealedMailMustBeWhatItSays() {
    func sealed(_ text: String) -> String {
      refusal(
        [
          "organizationId": "postbox", "allowedFromAddresses": ["news@sender.example"],
          "sealedMimeBase64": Data(text.utf8).base64EncodedString(),
        ],
        mode: .postbox)
    }
    let head =
      "From: News <news@sender.example>\r\nSubject: ...\r\nContent-Type: multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n"
    #expect(sealed(head + "--b--\r\n") == "accepted")
    #expect(sealed(head + "--b\n.\n--\r\n") == "400 sealedMimeBase64 must use CRLF line ends only")
    #expect(sealed(head.replacing("news@", with: "evil@")) == "400 sealedMimeBase64 From must equal \"from\"")
    // A second author, as the rest of the world would read one.
    for (before, error) in [
      ("From:\u{301} Boss <c@d.example>\r\n", "From must equal"), ("From : c@d.example\r\n", "From must equal"),
      ("From c@d.example\r\n", "has a header line that is no field"), ("Sender: c@d.example\r\n", "sender must equal"),
    ] { #expect(sealed(before + head).hasPrefix("400 sealedMimeBase64 \(error)"), "\(before)") }
    let folded = head.replacing("example>\r\n", with: "example>\r\n \u{301}, c@d.example:\r\n")
    #expect(sealed(folded) == "400 sealedMimeBase64 From must equal \"from\"")
    #expect(sealed("Sender: news@sender.example\r\n" + head + "x\r\n") == "accepted")
    #expect(sealed(head.replacing("...", with: "Hello")) == "400 sealedMimeBase64 Subject must be \"...\"")
    #expect(sealed(head.replacing("encrypted;", with: "mixed;")).hasPrefix("400 sealedMimeBase64 must be multipart/encrypted"))
  }

  @Test func whatIsGoodIsKept() throws {
    let submission = try judge([
      "headers": ["X-A": "1", "Subject": "no", "Message-ID": "<a@b.example>", "References": "<x@y>"], "engagementScore": 90, "tags": ["a"],
      "sendAt": 2_000_000, "to": "U@B.example", "html": NSNull(), "text": "t",
    ])
    #expect(submission.band == .first)
    #expect(submission.messageIDField == "<a@b.example>")
    #expect(submission.content.headers.map(\.name) == ["References", "X-A"])
    #expect(submission.sendAt == 2_000_000)
    #expect(submission.recipient.description == "U@b.example")
    #expect(submission.content.authorName == "News")
    for odd in [-1, 101, "80"] as [Any] { #expect(try judge(["engagementScore": odd]).band == .third) }
    #expect(try judge(["sendAt": 5]).sendAt == nil)
    #expect(try judge(["unknownField": [1, 2]]).messageID == "m-1")
  }
}
