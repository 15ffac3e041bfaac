import Testing

@testable import supervisor

/// Values that Python's `cryptography` sealed.
@Suite struct SecretBoxTests {
  private let secret = "an upstream secret of thirty-two octets or more"

  @Test func ourOwnSealStaysReadable() throws {
    let sealed = "mtasealed:v1:AAECAwQFBgcICQoLJTS81RVv1nZTOjsaTZiUV4wuHu7d"
    #expect(try SecretBox(secret: secret).open(sealed, for: "a.example") == "a key")
    #expect(throws: SecretBox.Failure.otherSecret) { try SecretBox(secret: secret).open(sealed, for: "b.example") }
    #expect(throws: SecretBox.Failure.otherSecret) { try SecretBox(secret: "x" + secret).open(sealed, for: "a.example") }
    for text in ["a key", "mtasealed:v1:", "mtasealed:v1:AAAA", "mtasealed:v1:?"] {
      #expect(throws: SecretBox.Failure.notSealed) { try SecretBox(secret: secret).open(text, for: "a.example") }
    }
  }

  @Test func upstreamsSealIsRead() {
    let sealed = "mtasealed:v1:AAECAwQFBgcICQoL.6be8s25kS4FhcyKscQSXSg==.ipDFDiJrbBQym+b0TGt8MFrfd7a7iXdDbxiwcTs77/klnCE="
    #expect(UpstreamBox(secret: secret).open(sealed) == "-----BEGIN PRIVATE KEY-----\nübung\n")
    #expect(UpstreamBox(secret: "x" + secret).open(sealed) == nil)
    for text in [
      "", "mtasealed:v1:", "mtasealed:v1:a.b.c", "mtasealed:v1:AAAA.AAAA", sealed + ".AAAA", "mtasealed:v1:..", String(sealed.dropLast(4)),
    ] {
      #expect(UpstreamBox(secret: secret).open(text) == nil)
    }
  }
}
