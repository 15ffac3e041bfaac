import Foundation
import SMTPServer
import TestSupport
import Testing

/// DKIM keys of two kinds beside each other (RFC 8463), judged by dkimpy.
@Suite(.serialized) struct KeyTests {
  @Test func mailIsSignedWithBothKeys() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.sinkOptions.extensions += ["CHUNKING", "DSN"]
    let mta = try await MTAFixture(options)
    try await mta.start()
    func pem(_ words: String...) throws -> String {
      let made = try run("/usr/bin/openssl", ["genpkey"] + words)
      #expect(made.code == 0)
      return made.output
    }
    func set(_ selector: String, _ key: String) async throws -> String {
      let body = try JSONSerialization.data(withJSONObject: ["domain": "sender.example", "selector": selector, "privateKey": key])
      return try await mta.call("POST", "/dkim", body: String(decoding: body, as: UTF8.self)).body
    }
    let ed25519 = try pem("-algorithm", "ed25519")
    #expect(try await set("ed", ed25519).contains("stands beside an RSA key"))
    let record = try await mta.registerDKIM("sender.example")
    let row = try await mta.get("/dkim").json["domains"] as? [[String: Any]] ?? []
    let selector = try #require(row.first?["selector"] as? String)
    #expect(try await set(selector, ed25519).contains("has this selector"))
    #expect(try await set("x", try pem("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")).contains("nor Ed25519"))
    try await mta.send("one", to: "u@\(Zones.domain(0))")
    try await eventually("one signature") { mta.log.count == 1 }
    #expect(try await set("ed", ed25519) == "{\"success\":true,\"domain\":\"sender.example\",\"selector\":\"ed\"}")
    #expect((try await mta.get("/dkim").json["domains"] as? [[String: Any]])?.first?["ed25519Selector"] as? String == "ed")
    for index in 0..<5 { try await mta.send("two\(index)", to: "u@\(Zones.domain(0))", ["subject": "Grüße \(index)"]) }
    try await eventually("five with two signatures each") { mta.log.count == 6 }
    // The public key as DNS would have it: the last 32 octets of its DER form.
    _ = try mta.scratch.write("ed.pem", ed25519)
    let der = try run("/bin/sh", ["-c", "openssl pkey -in '\(mta.scratch.file("ed.pem"))' -pubout -outform DER | tail -c 32 | base64"])
    let records = [
      "\(selector)._domainkey.sender.example": record,
      "ed._domainkey.sender.example": "v=DKIM1; k=ed25519; p=\(der.output.trimmingCharacters(in: .whitespacesAndNewlines))",
    ]
    _ = try mta.scratch.write("records.json", String(decoding: try JSONSerialization.data(withJSONObject: records), as: UTF8.self))
    try FileManager.default.createDirectory(atPath: mta.scratch.file("mail"), withIntermediateDirectories: true)
    for message in mta.log.all {
      try Data(message.octets).write(to: URL(fileURLWithPath: mta.scratch.file("mail/\(message.messageID).eml")))
    }
    let python = ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? "python3"
    let script = FileManager.default.currentDirectoryPath + "/Tests/Fixtures/verify.py"
    let judged = try run(python, [script, "dkim-all", mta.scratch.file("records.json"), mta.scratch.file("mail")])
    #expect(judged.output == "11\n", "\(judged.errors)")
    await mta.tearDown()
  }
}
