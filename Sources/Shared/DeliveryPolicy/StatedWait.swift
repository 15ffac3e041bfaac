internal import MailModel

/// The wait that a reply asks for: `try again in 300 seconds`, `greylisted for 5min`, `retry after 1 hour`.
///
/// Replies name other spans too (`timed out after 300 seconds`, `100 messages per 5 minutes`, `could not be delivered for 8 hours`):
/// a span counts only in a reply that speaks of another try, and not after a word that says it is something else.
enum StatedWait {
  static let least: Milliseconds = 30_000
  static let most: Milliseconds = ReplyRules.hour

  /// Kept within ``least`` and ``most``; nil when the reply states none.
  /// - Parameter words: as ``ReplyText/words``.
  static func read(_ words: [UInt8]) -> Milliseconds? {
    let words = words.split(separator: 0x20)
    guard words.contains(where: isInvitation) else { return nil }
    for (index, word) in words.enumerated() {
      let (digits, rest) = parts(word)
      // "300 seconds", "300s"
      let unitWord = rest.isEmpty && index + 1 < words.count ? words[index + 1] : rest
      guard let count = value(digits), let unit = unit(unitWord), !isOtherSpan(words[max(0, index - 3)..<index]) else { continue }
      return min(max(count * unit, least), most)
    }
    return nil
  }

  private static func parts(_ word: ArraySlice<UInt8>) -> (ArraySlice<UInt8>, ArraySlice<UInt8>) {
    let split = word.firstIndex { !(0x30...0x39).contains($0) } ?? word.endIndex
    return (word[..<split], word[split...])
  }

  private static func text(_ word: ArraySlice<UInt8>) -> String { String(decoding: word, as: UTF8.self) }

  private static let invitations: Set<String> = [
    "again", "retry", "retries", "retrying", "wait", "waiting", "later", "back", "resend", "reconnect", "resume", "greylisted",
    "greylisting",
    "graylisted", "graylisting", "greylist", "deferred", "defer", "delayed", "throttled", "throttling", "slow", "blocked",
    "erneut",
    "warten", "spater", "spaeter", "reessayer", "reessayez", "essayer", "attendre", "patienter", "espere", "intente", "intentelo",
    "reintente",
    "riprovare", "riprova", "attendere", "aguarde",
  ]

  private static func isInvitation(_ word: ArraySlice<UInt8>) -> Bool { invitations.contains(text(word)) }

  /// Before a number: what makes it a limit or a time gone by.
  private static let otherSpans: Set<String> = [
    "per", "every", "last", "past", "previous", "timeout", "timed", "delivered", "queue", "queued", "expired", "exceeded", "attempts",
    "limit",
    "older", "idle", "took",
  ]

  private static func isOtherSpan(_ before: ArraySlice<ArraySlice<UInt8>>) -> Bool {
    before.contains { otherSpans.contains(text($0)) } && !before.contains { isInvitation($0) }
  }

  private static func value(_ digits: ArraySlice<UInt8>) -> Int64? {
    guard (1...6).contains(digits.count) else { return nil }
    let value = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
    return value > 0 ? value : nil
  }

  private static func unit(_ word: ArraySlice<UInt8>) -> Milliseconds? {
    switch text(word) {
    case "s", "sec", "secs", "second", "seconds", "sekunden", "secondes", "segundos", "secondi": 1000
    case "m", "min", "mins", "minute", "minutes", "minuten", "minutos", "minuti": ReplyRules.minute
    case "h", "hr", "hrs", "hour", "hours", "stunde", "stunden", "heure", "heures", "hora", "horas", "ora", "ore": ReplyRules.hour
    default: nil
    }
  }
}
