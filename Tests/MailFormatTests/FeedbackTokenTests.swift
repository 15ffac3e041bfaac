import MailFormat
import MailModel
import Testing

/// Tokens by which the world talks back: each proves one thing, and only when nobody touched it.
@Suite struct FeedbackTokenTests {
  let signer = VERPSigner(key: String(repeating: "k", count: 32), installation: "mta@bounces.example")

  @Test func aComplaintTokenIsNoReturnPathAndTheOtherWayRound() {
    let number = MessageNumber(77)
    let token = signer.complaintToken(number)
    #expect(signer.verify(complaintLocalPart: "fbl+\(token)") == .message(number))
    #expect(signer.verify(complaintLocalPart: "FBL+\(token.uppercased())") == .message(number))
    #expect(signer.verify(complaintToken: token) == number)
    #expect(signer.verify(localPart: "bounce+\(token)", now: 0) == .forged)
    #expect(signer.verify(complaintLocalPart: "fbl+\(signer.token(number))") == .forged)
    #expect(signer.verify(complaintLocalPart: "bounce+\(token)") == .notVERP)
    let other = VERPSigner(key: String(repeating: "x", count: 32), installation: "mta@bounces.example")
    #expect(other.verify(complaintToken: token) == nil)
    #expect("fbl+\(token)".utf8.count <= 64)
  }

  /// A Message-ID proves which message it is, and is neither return-path nor feedback address.
  @Test func aMessageIDIsNoAddress() throws {
    let number = MessageNumber(77)
    let left = try #require(VERPSigner.messageIDToken(of: signer.token(number)))
    #expect(signer.verify(messageID: "<\(left)@author.example>") == number)
    #expect(signer.verify(messageID: left.uppercased()) == number)
    #expect(signer.verify(localPart: "bounce+\(left)", now: 0) == .forged)
    #expect(signer.verify(complaintLocalPart: "fbl+\(left)") == .forged && signer.verify(complaintToken: left) == nil)
    for other in [signer.token(number), signer.complaintToken(number), "", "x", String(left.dropLast())] {
      #expect(signer.verify(messageID: "<\(other)@author.example>") == nil, "\(other)")
    }
    let stranger = VERPSigner(key: String(repeating: "x", count: 32), installation: "mta@bounces.example")
    #expect(stranger.verify(messageID: left) == nil)
    #expect(VERPSigner(key: String(repeating: "k", count: 32), installation: "else").verify(messageID: left) == nil)
    #expect(VERPSigner.messageIDToken(of: "tok") == nil)
  }

  @Test func anUnsubscribeLinkSaysWhoAndWhatAndCannotBeMade() {
    let token = UnsubscribeToken(organisation: "acme", list: "größe ✓", address: "ann@a.example", messageID: "m-1")
    let text = token.signed(by: signer)
    #expect(UnsubscribeToken(text, signer: signer) == token)
    #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") })
    for index in stride(from: 0, to: text.count, by: 3) {
      var letters = Array(text)
      letters[index] = letters[index] == "A" ? "B" : "A"
      #expect(UnsubscribeToken(String(letters), signer: signer) == nil, "\(index)")
    }
    for bad in ["", "A", "....", String(text.dropLast(4)), text + "AAAA", String(repeating: "A", count: 5000)] {
      #expect(UnsubscribeToken(bad, signer: signer) == nil, "\(bad.prefix(20))")
    }
  }
}
