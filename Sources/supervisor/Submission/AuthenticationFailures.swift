import MailModel
import Synchronization

/// Wrong passwords by client address: after ``most`` within ``window`` the address is not listened to until the oldest of them
/// is that old (contract section 12.3).
final class AuthenticationFailures: Sendable {
  static let most = 10
  static let window: Milliseconds = 15 * 60_000

  private let times = Mutex<[String: [Milliseconds]]>([:])

  func isBlocked(_ peer: String, now: Milliseconds) -> Bool {
    times.withLock { times in
      guard let known = times[peer] else { return false }
      return known.count { $0 > now - Self.window } >= Self.most
    }
  }

  func note(_ peer: String, now: Milliseconds) {
    times.withLock { times in
      if times.count >= 10_000 { times = times.filter { $0.value.contains { $0 > now - Self.window } } }
      times[peer] = (times[peer] ?? []).filter { $0 > now - Self.window }.suffix(Self.most - 1) + [now]
    }
  }
}
