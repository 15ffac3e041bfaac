import Foundation
import TestSupport
import Testing

/// `supervisor classify` from outside: what goes in by standard input, what comes out, with which code.
@Suite struct ClassifyTests {
  private func classify(_ input: String, _ words: String = "--json") throws -> (code: Int32, lines: [JSONValue], errors: String) {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let file = try scratch.write("in", input)
    let result = try run("/bin/sh", ["-c", "exec \(CommandTests.program) classify \(words) <\(file)"])
    return (result.code, try result.output.split(separator: "\n").map { try JSONValue(String($0)) }, result.errors)
  }

  @Test func oneLineOutForEachIn() throws {
    let long = "550 5.1.1 " + String(repeating: "é", count: 400_000)
    let result = try classify(
      """
      550 5.1.1 no such user

      {"reply": "421-4.7.0 busy\\r\\n421 4.7.0 try again in 5 minutes", "provider": null}
      {"provider": "gmail", "reply": "421 4.7.28 unusual rate of mail from your SPF domain"}
      \(long)
        {"reply": "", "provider": "other"}
      554 hm
      """)
    #expect(result.code == 0 && result.errors.isEmpty)
    let replies = result.lines.map { $0["reply"] }
    #expect(replies.count == 7 && replies[0] == .text("550 5.1.1 no such user") && replies[1] == .text("") && replies[4] == .text(long))
    #expect(replies[2] == .text("421-4.7.0 busy\r\n421 4.7.0 try again in 5 minutes") && replies[6] == .text("554 hm"))
    #expect(result.lines[2]["statedWaitSeconds"] == .number(300) && result.lines[2]["class"] == .text("temporary"))
    #expect(result.lines[3]["scope"] == .text("organization") && result.lines[0]["class"] == .text("permanent"))
    for line in result.lines { #expect(CommandShapes.all["classify"]?.faults(in: line) == []) }
  }

  /// A faulty line has its line of output too, and those behind it theirs; one line on standard error names it.
  @Test(arguments: [
    (#"{"reply": "550 x""#, "line 2: not JSON"), (#"{"reply": 5}"#, "line 2: reply"), (#"{"provider": "gmail"}"#, "line 2: reply"),
    (#"{"reply": "550 x", "provider": 1}"#, "line 2: provider"),
  ])
  func brokenJSON(line: String, error: String) throws {
    let result = try classify("550 first\n\(line)\n550 third\n")
    #expect(result.code == 1 && result.lines.count == 3)
    #expect(result.lines[0]["reply"] == .text("550 first") && result.lines[2]["reply"] == .text("550 third"))
    #expect(result.lines[1]["reply"] == .text(line.contains("provider\": 1") ? "550 x" : line))
    #expect(result.errors.hasPrefix(error) && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
  }

  @Test func nothingIn() throws {
    let empty = try classify("")
    #expect(empty.code == 0 && empty.lines.isEmpty)
    #expect(try classify("", "").code == 2)
    #expect(try classify("", "--source x --json").code == 2)
  }

  @Test func manyLines() throws {
    let count = 5_000
    let input = (0..<count).map { "{\"reply\": \"450 4.2.1 message \($0) deferred\"}" }.joined(separator: "\n")
    let result = try classify(input)
    #expect(result.code == 0 && result.lines.count == count)
    #expect(result.lines.last?["reply"] == .text("450 4.2.1 message \(count - 1) deferred"))
  }

  @Test func scores() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let file = try scratch.write(
      "labelled",
      """
      {"reply": "550 no such user", "category": "invalid_recipient", "source": "bounce:x/one-1.eml"}
      {"reply": "550 no such user here", "category": "policy", "category_accept": ["unknown"], "source": "two"}
      {"reply": "550 ambiguous", "category": null, "source": "two"}
      """)
    let all = try JSONValue(try run(CommandTests.program, ["classify", "--score", file, "--json"]).output)
    #expect(all["replies"] == .number(2) && all["right"] == .number(1) && all["sources"]?.list?.count == 2)
    let one = try JSONValue(try run(CommandTests.program, ["classify", "--score", file, "--json", "--source", "!two"]).output)
    #expect(one["replies"] == .number(1) && one["right"] == .number(1))
    #expect(one["sources"]?.list?.first?["source"] == .text("bounce one"))
    #expect(try run(CommandTests.program, ["classify", "--score", file, "--without", "nobody"]).code == 2)
    #expect(try run(CommandTests.program, ["classify", "--score", scratch.file("absent")]).code == 1)
  }
}
