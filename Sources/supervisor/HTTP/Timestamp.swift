import Foundation
import MailModel

/// Times as people and scripts read them.
enum Timestamp {
  static func rfc3339(_ milliseconds: Milliseconds) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    return formatter.string(from: Date(timeIntervalSince1970: Double(milliseconds) / 1000))
  }

  /// RFC 3339 or nil.
  static func milliseconds(_ text: String) -> Milliseconds? {
    // The formatter passes over what follows a date; nothing may.
    guard (20...40).contains(text.utf8.count), text.utf8.allSatisfy({ "0123456789-+:.TZtz".utf8.contains($0) }) else { return nil }
    let formatter = ISO8601DateFormatter()
    for options: ISO8601DateFormatter.Options in [[.withInternetDateTime], [.withInternetDateTime, .withFractionalSeconds]] {
      formatter.formatOptions = options
      if let date = formatter.date(from: text) { return Milliseconds((date.timeIntervalSince1970 * 1000).rounded()) }
    }
    return nil
  }
}
