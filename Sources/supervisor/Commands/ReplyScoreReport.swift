import DeliveryPolicy
import Foundation
import MailModel

/// `classify --score`: labelled replies → how right the rules are, by source, and how right without what each source taught them.
enum ReplyScoreReport {
  static func text(of path: String, source: String?, without: String?, json: Bool) throws -> String {
    let leftOut = Set(names(without))
    let known = Set(ReplyRules.table.map(\.source))
    if let unknown = leftOut.subtracting(known).min() {
      throw CommandFault(code: 2, text: "--without: no rule is from \(unknown); sources: \(known.sorted().joined(separator: ", "))")
    }
    let lines = try selected(read(path), source)
    guard !lines.isEmpty else { throw CommandFault(code: 1, text: "\(path): no labelled reply") }
    let score = ReplyScore(lines, leavingOut: leftOut)
    return json ? document(score) : table(score)
  }

  private static func names(_ list: String?) -> [String] {
    (list ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
  }

  /// Lines without a category are not scored.
  private static func read(_ path: String) throws -> [ReplyScore.Line] {
    guard let data = FileManager.default.contents(atPath: path) else { throw CommandFault(code: 1, text: "\(path): cannot be read") }
    var lines: [ReplyScore.Line] = []
    for (index, text) in String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).enumerated()
    where !text.isEmpty {
      guard let object = (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any],
        let reply = object["reply"] as? String
      else { throw CommandFault(code: 1, text: "\(path): line \(index + 1): no JSON object with a reply") }
      guard let category = object["category"] as? String else { continue }
      lines.append(
        ReplyScore.Line(
          reply: reply, provider: object["provider"] as? String,
          accepted: Set([category] + (object["category_accept"] as? [String] ?? [])), source: family(object["source"] as? String ?? "")))
    }
    return lines
  }

  /// A mail's collection, not the one mail, is the source of what stands in it: `bounce:bounces/lhost-exim-01.eml` → `bounce lhost`.
  private static func family(_ source: String) -> String {
    guard source.hasPrefix("bounce:"), let file = source.split(separator: "/").last else { return source.isEmpty ? "-" : source }
    return "bounce " + file.prefix { $0 != "-" && $0 != "." }
  }

  private static func selected(_ lines: [ReplyScore.Line], _ source: String?) -> [ReplyScore.Line] {
    guard let source else { return lines }
    let isExcluded = source.hasPrefix("!")
    let wanted = Set(names(isExcluded ? String(source.dropFirst()) : source))
    return lines.filter { wanted.contains($0.source) != isExcluded }
  }

  private static func table(_ score: ReplyScore) -> String {
    func share(_ count: Int, _ all: Int) -> String { String(format: "%.3f", Double(count) / Double(max(1, all))) }
    var text = score.wrong.map { "wrong: \($0)" } + score.learnt.map { "only by its source: \($0)" }
    let width = (score.rows.map(\.source.count).max() ?? 0) + 2
    func row(_ name: String, _ lines: Int, _ right: Int, _ without: Int) -> String {
      let count = String(lines)
      return name + String(repeating: " ", count: max(1, width - name.count)) + String(repeating: " ", count: max(0, 5 - count.count))
        + count
        + "  right \(share(right, lines))  without it \(share(without, lines))"
    }
    text += score.rows.map { row($0.source, $0.lines, $0.right, $0.rightWithoutIt) }
    text.append(row("all", score.lines, score.right, score.rightWithoutSource))
    return text.joined(separator: "\n")
  }

  private static func document(_ score: ReplyScore) -> String {
    func figures(_ lines: Int, _ right: Int, _ without: Int) -> [(String, JSONObject.Value)] {
      [("replies", .number(Int64(lines))), ("right", .number(Int64(right))), ("rightWithoutSource", .number(Int64(without)))]
    }
    let rows = score.rows.map { JSONObject([("source", .text($0.source))] + figures($0.lines, $0.right, $0.rightWithoutIt)) }
    return JSONObject(
      figures(score.lines, score.right, score.rightWithoutSource) + [
        ("sources", JSONObject.list(rows)), ("wrong", JSONObject.list(score.wrong)), ("onlyByTheirSource", JSONObject.list(score.learnt)),
      ]
    ).string
  }
}
