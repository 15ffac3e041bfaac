import Foundation
import TestSupport
import Testing

/// One-click unsubscribe (RFC 8058), from the link in the mail to the mail that no longer comes.
@Suite(.serialized) struct UnsubscribeTests {
  @Test func whoLeavesAListGetsNoMoreOfIt() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.extra = "unsubscribe: { base_url: \"https://mail.example/\" }"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")

    try await mta.send("u-1", to: "ann@d0.test-zone.example", ["unsubscribe": true, "campaignId": "spring"])
    try await mta.send(
      "u-2", to: "ann@d0.test-zone.example", ["unsubscribe": ["list": "weekly"], "headers": ["List-Unsubscribe": "<mailto:x@y.example>"]])
    try await mta.send("u-3", to: "ann@d0.test-zone.example")
    try await eventually("all three arrived") { mta.log.count == 3 }
    let first = try #require(mta.log.all.first { $0.messageID == "u-1" })
    #expect(first.field("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click")
    let value = try #require(first.field("List-Unsubscribe"))
    let link = try #require(value.wholeMatch(of: #/<https://mail\.example(/u/[A-Za-z0-9_-]+)>/#)?.1)
    let signed = try #require(first.field("DKIM-Signature"))
    #expect(signed.contains("list-unsubscribe:list-unsubscribe-post") || signed.lowercased().contains("list-unsubscribe-post"))
    let second = try #require(mta.log.all.first { $0.messageID == "u-2" })
    #expect(second.field("List-Unsubscribe")?.contains("y.example") == false)
    #expect(mta.log.all.first { $0.messageID == "u-3" }?.field("List-Unsubscribe") == nil)

    // A look changes nothing, nor does a forged link.
    let page = try await mta.get(String(link), key: nil)
    #expect(
      page.status == 200 && page.body.contains("<form method=\"post\">") && page.headers["content-type"] == "text/html; charset=utf-8")
    let forged = String(link.dropLast(2)) + (link.hasSuffix("A") ? "BB" : "AA")
    #expect(try await mta.call("POST", forged, body: "List-Unsubscribe=One-Click", key: nil).status == 404)
    #expect(try await mta.get("/v1/unsubscribes?organizationId=acme").body == "{\"entries\":[]}")

    for _ in 0..<2 {
      #expect(try await mta.call("POST", String(link), body: "List-Unsubscribe=One-Click", key: nil).status == 200)
    }
    try await eventually("the event arrives") { mta.receiver.all.filter { $0.event == "unsubscribed" }.count == 1 }
    let event = try #require(mta.receiver.all.filter { $0.event == "unsubscribed" }.first)
    #expect(event.messageID == "u-1" && event.fields["recipient"] == "ann@d0.test-zone.example" && event.fields["list"] == "spring")
    let listed = try await mta.get("/v1/unsubscribes?organizationId=acme").json
    #expect((listed["entries"] as? [[String: Any]])?.first?["email"] as? String == "ann@d0.test-zone.example")

    try await eventually("the message shows it") {
      try await mta.get("/v1/messages/u-1").body.contains("\"feedback\":[{")
    }
    #expect(try await !mta.get("/v1/messages/u-2").body.contains("feedback"))
    let shown = try await mta.get("/v1/messages/u-1").body
    #expect(shown.contains("\"kind\":\"unsubscribed\"") && shown.contains("\"list\":\"spring\""), "\(shown)")

    // That list is silent now; another list, another organisation and plain mail are not.
    try await mta.send("u-4", to: "Ann@d0.test-zone.example", ["unsubscribe": true, "campaignId": "spring"])
    try await mta.send("u-5", to: "ann@d0.test-zone.example", ["unsubscribe": ["list": "weekly"]])
    try await mta.send("u-6", to: "ann@d0.test-zone.example", org: "other", ["unsubscribe": true, "campaignId": "spring"])
    try await eventually("it is told") {
      mta.receiver.all.contains { $0.messageID == "u-4" && $0.fields["errorCode"] == "RECIPIENT_SUPPRESSED" }
    }
    try await eventually("the others arrive") { mta.log.count == 5 }
    #expect(!mta.log.all.contains { $0.messageID == "u-4" })

    // Back again, but not by a wish that is older than the last click.
    let path = "/v1/unsubscribes/spring/ann@d0.test-zone.example?organizationId=acme"
    #expect(try await mta.call("DELETE", path + "&before=2020-01-01T00:00:00Z", body: nil).json["removed"] as? Bool == false)
    #expect(try await mta.call("DELETE", path + "&before=yesterday", body: nil).status == 400)
    let back = try await mta.call("DELETE", "/v1/unsubscribes/spring/ann@d0.test-zone.example?organizationId=acme", body: nil)
    #expect(back.json["removed"] as? Bool == true)
    try await mta.send("u-7", to: "ann@d0.test-zone.example", ["unsubscribe": true, "campaignId": "spring"])
    try await eventually("mail of the list again") { mta.log.all.contains { $0.messageID == "u-7" } }
    #expect(mta.receiver.all.filter { $0.event == "unsubscribed" }.count == 1)

    for bad in ["\"yes\"", "{\"list\":5}", "{\"list\":\"\"}", "[]"] {
      let body = MTAFixture.body("u-8", to: "ann@d0.test-zone.example").dropLast() + ",\"unsubscribe\":\(bad)}"
      let answer = try await mta.call("POST", "/send", body: String(body))
      #expect(answer.status == 400 && answer.body.contains("unsubscribe"), "\(bad): \(answer.body)")
    }
    await mta.tearDown()
  }

  /// An end between Redis and the disk: the event is told after the start, once, and the list stays silent.
  @Test func anEventThatWasNotWrittenIsToldAfterACrash() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.extra = "unsubscribe: { base_url: \"https://mail.example/\" }"
    let mta = try await MTAFixture(options, failPoint: "supervisor-before-outbox")
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("u-1", to: "ann@d0.test-zone.example", ["unsubscribe": true, "campaignId": "spring"])
    try await eventually("it is told as sent") { mta.receiver.messageIDs("sent") == ["u-1"] }
    let value = try #require(mta.log.all.first?.field("List-Unsubscribe"))
    let link = try #require(value.wholeMatch(of: #/<https://mail\.example(/u/[A-Za-z0-9_-]+)>/#)?.1)
    mta.armFailPoint()
    _ = try? await mta.call("POST", String(link), body: "List-Unsubscribe=One-Click", key: nil)
    try await eventually("it was killed there") { !mta.isFailPointArmed }
    try await mta.killSupervisor()
    try await mta.start()
    try await eventually("it is told") { mta.receiver.messageIDs("unsubscribed") == ["u-1"] }
    #expect(try await mta.call("POST", String(link), body: "List-Unsubscribe=One-Click", key: nil).status == 200)
    try await mta.send("u-2", to: "ann@d0.test-zone.example", ["unsubscribe": true, "campaignId": "spring"])
    try await eventually("the list is silent") { mta.receiver.messageIDs("failed") == ["u-2"] }
    #expect(Set(mta.receiver.all.filter { $0.event == "unsubscribed" }.map { $0.headers["webhook-id"] }).count == 1)
    await mta.tearDown()
  }
}
