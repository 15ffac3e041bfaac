import ControlProtocol
import MailFormat

enum KeyError: Error, Equatable, CustomStringConvertible {
  case none(domain: String)
  case unusable(String)
  /// The supervisor does not find the message that this key is asked for: it is not ours to sign (any more).
  case refused(domain: String)
  case supervisorGone

  var description: String {
    switch self {
    case .none(let domain): "no DKIM key for \(domain)"
    case .unusable(let text): text
    case .refused(let domain): "the supervisor refused the key of \(domain)"
    case .supervisorGone: "the supervisor is gone"
    }
  }
}

/// Parsed DKIM keys by domain, asked of the supervisor over the control socket the first time they are needed.
struct KeyRing {
  private var keys: [String: [DKIMKey]] = [:]
  private var waiting: [String: [CheckedContinuation<Result<[DKIMKey], KeyError>, Never>]] = [:]

  func known(_ domain: String) -> [DKIMKey]? { keys[domain] }

  /// True when this is the first to wait for the domain: ask for it.
  mutating func wait(for domain: String, _ continuation: CheckedContinuation<Result<[DKIMKey], KeyError>, Never>) -> Bool {
    waiting[domain, default: []].append(continuation)
    return waiting[domain]?.count == 1
  }

  mutating func receive(_ domain: String, _ given: [SigningKey]) {
    let result: Result<[DKIMKey], KeyError>
    if given.isEmpty {
      result = .failure(.none(domain: domain))
    } else {
      do {
        let parsed = try given.map { try DKIMKey(domain: $0.domain, selector: $0.selector, pem: $0.privateKeyPEM) }
        keys[domain] = parsed
        result = .success(parsed)
      } catch {
        result = .failure(.unusable("\(error)"))
      }
    }
    for continuation in waiting.removeValue(forKey: domain) ?? [] { continuation.resume(returning: result) }
  }

  mutating func refuse(_ domain: String) {
    for continuation in waiting.removeValue(forKey: domain) ?? [] { continuation.resume(returning: .failure(.refused(domain: domain))) }
  }

  mutating func forget(_ domain: String) { keys[domain] = nil }

  mutating func failAll() {
    for continuation in waiting.values.joined() { continuation.resume(returning: .failure(.supervisorGone)) }
    waiting = [:]
  }
}
