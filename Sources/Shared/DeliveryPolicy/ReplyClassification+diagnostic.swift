internal import MailModel

extension ReplyClassification {
  /// The verdict on what a bounce reports: the Diagnostic-Code of a delivery status notification (RFC 3464 §2.3.6) or the sentence
  /// in which an MTA wraps it (`host mx said: 550 …`), judged by the same rules as a reply.
  /// - Parameters:
  ///   - diagnostic: with or without its type (`smtp; `, `X-Postfix; `), with or without any code; may be empty.
  ///   - status: the report's Status field (`5.1.1`). It speaks where the text has no code of its own that says as much: what the
  ///     remote host said is more telling than how the reporting MTA filed it.
  package static func verdict(diagnostic: String, status: String?, providerName: String? = nil) -> ReplyVerdict {
    var text = ReplyText(withoutType(diagnostic))
    if let status, let code = EnhancedStatusCode(startOf: status.trimmingPrefix { $0.isWhitespace }) { text.complete(code) }
    return verdict(text, providerName: providerName)
  }

  /// The verdict when a reader of reports has found the class by other means than its diagnostic: what follows from the class.
  package static func verdict(of replyClass: ReplyClass, isPermanent: Bool) -> ReplyVerdict {
    let fault = blame(replyClass)
    return ReplyVerdict(
      replyClass: replyClass, isPermanent: isPermanent, scope: fault.scope,
      reaction: possible(fault.reaction, replyClass, isPermanent: isPermanent), rule: "report")
  }

  /// `smtp; 550 …` → `550 …`. A type is one word (RFC 3464 §2.3.6).
  private static func withoutType(_ diagnostic: String) -> String {
    guard let end = diagnostic.firstIndex(of: ";") else { return diagnostic }
    let type = diagnostic[..<end].trimmingPrefix { $0.isWhitespace }
    guard !type.isEmpty, type.utf8.count <= 40,
      type.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == UInt8(ascii: "-") })
    else { return diagnostic }
    return String(diagnostic[diagnostic.index(after: end)...])
  }
}
