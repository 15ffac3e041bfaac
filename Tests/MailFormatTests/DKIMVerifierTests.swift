import Foundation
import TestSupport
import Testing

@testable import MailFormat

/// Signatures that dkimpy and we make, and what becomes of them when something is changed.
@Suite struct DKIMVerifierTests {
  static let message =
    "From: A <a@s.example>\r\nTo: b@r.example\r\nSubject: =?utf-8?q?x?=\r\n  folded \t here\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    + "\r\nline  one \t\r\n.\r\n\r\ntwo\r\n\r\n\r\n"

  static func pem(_ words: [String]) throws -> String {
    let made = try run("/usr/bin/openssl", ["genpkey"] + words)
    #expect(made.code == 0)
    return made.output
  }

  static let rsa = Result { try pem(["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]) }
  static let ed25519 = Result { try pem(["-algorithm", "ed25519"]) }

  func verdicts(_ octets: [UInt8], _ records: [String: String], now: Int64 = 1_800_000_000_000) async throws -> [DKIMVerdict] {
    try await #require(DKIMVerifier(octets)).verdicts(now: now) { name in records[name].map { .found($0) } ?? .nothing }
  }

  func signed(_ text: String = Self.message) throws -> (octets: [UInt8], records: [String: String]) {
    let keys = [
      try DKIMKey(domain: "s.example", selector: "r", pem: Self.rsa.get()),
      try DKIMKey(domain: "s.example", selector: "e", pem: Self.ed25519.get()),
    ]
    var rendered = try MessageRenderer.split(Array(text.utf8))
    rendered.fields = try DKIMSigner.signatures(of: rendered, with: keys, now: 1_700_000_000_000) + rendered.fields
    return (rendered.octets, Dictionary(uniqueKeysWithValues: keys.map { ("\($0.selector)._domainkey.s.example", $0.dnsRecord) }))
  }

  @Test func ownSignaturesAndWhatBreaksThem() async throws {
    let (octets, records) = try signed()
    #expect(
      try await verdicts(octets, records) == [
        DKIMVerdict(result: .pass, domain: "s.example", selector: "r"), DKIMVerdict(result: .pass, domain: "s.example", selector: "e"),
      ])
    let text = String(decoding: octets, as: UTF8.self)
    func results(_ text: String, _ records: [String: String]) async throws -> [DKIMVerdict.Result] {
      try await verdicts(Array(text.utf8), records).map(\.result)
    }
    // White space at line ends and empty lines at the end are relaxed away.
    #expect(try await results(text.replacingOccurrences(of: "line  one \t", with: "line one") + "\r\n\r\n", records) == [.pass, .pass])
    #expect(try await results(text.replacingOccurrences(of: "line  one", with: "lineone"), records) == [.fail, .fail])
    #expect(try await results(text.replacingOccurrences(of: "b@r.example", with: "c@r.example"), records) == [.fail, .fail])
    #expect(try await results("Subject: another\r\n" + text, records) == [.fail, .fail])
    #expect(try await results("X-New: field\r\n" + text, records) == [.pass, .pass])
    #expect(try await results(text, [:]) == [.permerror, .permerror])
    let swapped = ["r._domainkey.s.example": records["e._domainkey.s.example"] ?? "", "e._domainkey.s.example": "v=DKIM1; k=ed25519; p="]
    #expect(try await results(text, swapped) == [.permerror, .permerror])
    let failing = await DKIMVerifier(octets)?.verdicts(now: 0) { _ in .failed("SERVFAIL") }
    #expect(failing?.map(\.result) == [.temperror, .temperror])
  }

  static let malformed: [(String, DKIMVerdict.Result)] = [
    ("nonsense", .permerror), ("v=1; a=rsa-sha1; d=s.example; s=r; h=from; bh=AAAA; b=AAAA", .permerror),
    ("v=1; a=rsa-sha256; d=s.example; s=r; h=to; bh=AAAA; b=AAAA", .permerror),
    ("v=1; a=rsa-sha256; d=s.example; s=r; h=from; bh=AAAA; b=AAAA; i=@other.example", .permerror),
    ("v=1; a=rsa-sha256; d=s.example; s=r; h=from; bh=AAAA; b=AAAA; x=1", .fail),
    ("v=1; a=rsa-sha256; d=s.example; s=r; h=from; bh=AAAA; b=AAAA; l=0", .fail),
    ("v=1; a=rsa-sha256; d=s.example; d=t.example; s=r; h=from; bh=AAAA; b=AAAA", .permerror),
    ("v=1; a=rsa-sha256; d=s.example; s=../x; h=from; bh=AAAA; b=AAAA", .permerror),
    ("v=1; a=rsa-sha256; c=odd; d=s.example; s=r; h=from; bh=AAAA; b=AAAA", .permerror),
    ("v=1; a=rsa-sha256; d=s.example; s=r; h=from; bh=!; b=AAAA", .permerror),
    ("v=1; a=rsa-sha256; d=s.example; s=r; h=from; bh=AAAA; b=AAAA", .fail),
  ]

  @Test(arguments: malformed.indices) func malformedSignatures(index: Int) async throws {
    let (field, result) = Self.malformed[index]
    let verdicts = try await verdicts(Array(("DKIM-Signature: \(field)\r\n" + Self.message).utf8), [:])
    #expect(verdicts.map(\.result) == [result], "\(verdicts)")
  }

  @Test func onlySoManySignaturesAreLookedAt() async throws {
    let many = String(repeating: "DKIM-Signature: v=1\r\n", count: 50) + Self.message
    #expect(try await verdicts(Array(many.utf8), [:]).count == DKIMVerifier.most)
    #expect(DKIMVerifier(Array("\r\nno header".utf8)) == nil)
  }

  /// A stranger's key and signature are no leave to have millions of fields taken apart.
  @Test func aHugeHeaderIsNotLookedAt() async throws {
    let (octets, records) = try signed()
    let filler = Array("X-Many: a\r\n".utf8)
    let few = Array(repeatElement(filler, count: 1000).joined()) + octets
    #expect(try await verdicts(few, records).map(\.result) == [.pass, .pass])
    let many = Array(repeatElement(filler, count: DKIMVerifier.longestHeader / filler.count + 1).joined()) + octets
    #expect(DKIMVerifier(many) == nil)
    // The header counts, not what follows it.
    #expect(DKIMVerifier(octets + [UInt8](repeating: 0x61, count: 2 * DKIMVerifier.longestHeader)) != nil)
  }

  @Test(arguments: ["simple/simple", "relaxed/simple", "simple/relaxed", "relaxed/relaxed"])
  func signaturesOfAnotherProgram(methods: String) async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let python = ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? ".build-venv/bin/python"
    let program = """
      import dkim, sys
      message, key, methods = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read(), sys.argv[3].encode().split(b"/")
      sys.stdout.buffer.write(dkim.sign(message, b"r", b"s.example", key, canonicalize=tuple(methods)) + message)
      """
    let file = try scratch.write("m.eml", Self.message)
    let key = try scratch.write("k.pem", try Self.rsa.get())
    let out = scratch.file("out.eml")
    let made = try run(
      "/bin/sh", ["-c", "\(python) '\(try scratch.write("sign.py", program))' '\(file)' '\(key)' \(methods) > '\(out)'"])
    #expect(made.code == 0, "\(made.errors)")
    let octets = Array(try Data(contentsOf: URL(fileURLWithPath: out)))
    let record = try DKIMKey(domain: "s.example", selector: "r", pem: Self.rsa.get()).dnsRecord
    #expect(try await verdicts(octets, ["r._domainkey.s.example": record]).map(\.result) == [.pass])
    let changed = String(decoding: octets, as: UTF8.self).replacingOccurrences(of: "line  one", with: "line one")
    let isTolerant = methods.hasSuffix("relaxed")
    #expect(try await verdicts(Array(changed.utf8), ["r._domainkey.s.example": record]).map(\.result) == [isTolerant ? .pass : .fail])
  }
}
