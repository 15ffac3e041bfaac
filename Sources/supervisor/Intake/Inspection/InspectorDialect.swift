import Foundation
import MTAConfig
import NIOCore

/// A message as an inspector gets it.
struct InspectedMail: Sendable {
  var returnPath: String
  var recipient: String
  var organisation: String
  var messageID: String
  var octets: [UInt8]
}

/// The three protocols as octets: what is asked, when the answer is whole, what it says. No I/O.
enum InspectorDialect {
  enum Verdict: Sendable, Equatable {
    case clean
    /// Why, in a few words for the sender.
    case rejected(String)
  }

  static func question(_ inspector: MTAConfig.Inspector, _ mail: InspectedMail) -> [ByteBuffer] {
    switch inspector.kind {
    case .rspamd: [rspamdHead(inspector, mail), ByteBuffer(bytes: mail.octets)]
    case .spamassassin:
      [ByteBuffer(string: "SYMBOLS SPAMC/1.5\r\nContent-length: \(mail.octets.count)\r\n\r\n"), ByteBuffer(bytes: mail.octets)]
    case .clamav: clamdStream(mail.octets)
    }
  }

  static func isComplete(_ kind: MTAConfig.Inspector.Kind, _ answer: ByteBuffer) -> Bool {
    switch kind {
    // `z` commands are answered with a NUL at the end.
    case .clamav: answer.readableBytesView.last == 0
    case .rspamd, .spamassassin: Headed(answer).isComplete
    }
  }

  static func verdict(_ inspector: MTAConfig.Inspector, _ answer: ByteBuffer) throws(InspectionError) -> Verdict {
    switch inspector.kind {
    case .rspamd: try rspamd(inspector, Headed(answer))
    case .spamassassin: try spamd(inspector, Headed(answer))
    case .clamav: try clamd(String(buffer: answer))
    }
  }

  // MARK: rspamd

  /// HTTP/1.0: the answer comes in one piece and the connection ends with it. `User` says that it is mail of an authenticated
  /// sender on its way out, so that checks of foreign mail stay off.
  private static func rspamdHead(_ inspector: MTAConfig.Inspector, _ mail: InspectedMail) -> ByteBuffer {
    var host = "localhost"
    if case .tcp(let name, let port) = inspector.address { host = (name.contains(":") ? "[\(name)]" : name) + ":\(port)" }
    return ByteBuffer(
      string: "POST \(inspector.path)/checkv2 HTTP/1.0\r\nHost: \(host)\r\nContent-Length: \(mail.octets.count)\r\n"
        + "From: \(mail.returnPath)\r\nRcpt: \(mail.recipient)\r\nUser: \(mail.organisation)\r\nQueue-Id: \(mail.messageID)\r\n\r\n")
  }

  private static func rspamd(_ inspector: MTAConfig.Inspector, _ answer: Headed) throws(InspectionError) -> Verdict {
    let status = answer.first.split(separator: " ").dropFirst().first ?? ""
    guard status == "200" else { throw .unreadable("rspamd answered \(answer.first.prefix(80))") }
    guard let object = (try? JSONSerialization.jsonObject(with: Data(answer.body.utf8))) as? [String: Any],
      let action = object["action"] as? String, let score = (object["score"] as? NSNumber)?.doubleValue, score.isFinite
    else { throw .unreadable("rspamd's answer has no action and score") }
    guard action == "reject" || inspector.rejectAbove.map({ score > $0 }) ?? false else { return .clean }
    return .rejected("rspamd: action \(cut(action)), score \(spell(score))")
  }

  // MARK: spamd

  private static func spamd(_ inspector: MTAConfig.Inspector, _ answer: Headed) throws(InspectionError) -> Verdict {
    let words = answer.first.split(separator: " ")
    guard words.count >= 3, words[0].hasPrefix("SPAMD/"), words[1] == "0" else {
      throw .unreadable("spamd answered \(answer.first.prefix(80))")
    }
    // `True ; 6.2 / 5.0`
    let spam = (answer.fields["spam"] ?? "").split { $0 == ";" || $0 == "/" }.map { $0.trimmingCharacters(in: .whitespaces) }
    guard spam.count == 3, let score = Double(spam[1]), score.isFinite else { throw .unreadable("spamd's answer has no score") }
    let isSpam = ["true", "yes"].contains(spam[0].lowercased())
    guard inspector.rejectAbove.map({ score > $0 }) ?? isSpam else { return .clean }
    return .rejected("spamassassin: score \(spell(score))")
  }

  // MARK: clamd

  static let chunk = 256 << 10

  private static func clamdStream(_ octets: [UInt8]) -> [ByteBuffer] {
    var buffer = ByteBuffer()
    buffer.reserveCapacity(octets.count + 32 + octets.count / chunk * 4)
    buffer.writeString("zINSTREAM\0")
    var start = 0
    while start < octets.count {
      let end = min(octets.count, start + chunk)
      buffer.writeInteger(UInt32(end - start))
      buffer.writeBytes(octets[start..<end])
      start = end
    }
    buffer.writeInteger(UInt32(0))
    return [buffer]
  }

  private static func clamd(_ answer: String) throws(InspectionError) -> Verdict {
    let text = answer.trimmingCharacters(in: CharacterSet(charactersIn: "\0\r\n "))
    let word = text.split(separator: ": ", maxSplits: 1).last.map(String.init) ?? ""
    if word == "OK" { return .clean }
    if word.hasSuffix(" FOUND") { return .rejected("clamav: " + cut(String(word.dropLast(" FOUND".count)))) }
    throw .unreadable("clamd answered \(text.prefix(80))")
  }

  // MARK: texts

  private static func spell(_ score: Double) -> String { String(format: "%.1f", score) }

  /// Names come from rules that others wrote.
  private static func cut(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }).prefix(80))
  }

  /// A first line, fields, a blank line and a body, as both HTTP and spamd write.
  struct Headed {
    var first = ""
    /// By lower-case name.
    var fields: [String: String] = [:]
    var body = ""
    var isComplete = false

    init(_ buffer: ByteBuffer) {
      let view = buffer.readableBytesView
      guard let end = Self.end(view) else { return }
      let lines = String(decoding: view[..<end], as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
      first = lines.first.map(String.init) ?? ""
      for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else { continue }
        fields[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      }
      let rest = view[view.index(end, offsetBy: 4)...]
      body = String(decoding: rest, as: UTF8.self)
      isComplete = fields["content-length"].flatMap(Int.init).map { rest.count >= $0 } ?? false
    }

    private static func end(_ view: ByteBufferView) -> ByteBufferView.Index? {
      var index = view.startIndex
      while let found = view[index...].firstIndex(of: 0x0D) {
        if view.distance(from: found, to: view.endIndex) < 4 { return nil }
        if view[found + 1] == 0x0A, view[found + 2] == 0x0D, view[found + 3] == 0x0A { return found }
        index = view.index(after: found)
      }
      return nil
    }
  }
}
