import Glibc
import NIOConcurrencyHelpers

/// The `Date` field (RFC 9110 §5.6.7), made once a second.
enum HTTPDate {
  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
  private static let cached = NIOLockedValueBox<(second: Int, text: String)>((0, ""))

  static func now() -> String {
    var second = time(nil)
    return cached.withLockedValue { cached in
      if cached.second != second {
        var parts = tm()
        gmtime_r(&second, &parts)
        cached = (second, text(parts))
      }
      return cached.text
    }
  }

  private static func text(_ parts: tm) -> String {
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(days[Int(parts.tm_wday) % 7]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon) % 12]) \(parts.tm_year + 1900) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
  }
}
