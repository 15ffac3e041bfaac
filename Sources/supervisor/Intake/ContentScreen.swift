import Foundation
import MailModel
import Observability
import Redis

/// What a message must be before it is worth an attempt (contract section 10, phase 1): its author's domain belongs to the
/// signing domain, its HTML is not endless, no blocked URL is in it. What fails is accepted and told as `failed`
/// CONTENT_SCREENED, since upstream's clients know no other answer.
struct ContentScreen: Sendable {
  /// Octets of HTML, upstream's `CONTENT_MAX_SIZE_KB`.
  static let mostHTML = 500 * 1024

  let urls: URLBlocklist

  /// - Returns: why it may not go; nil when it may.
  func objection(to content: MessageContent, dkimDomain: String) async throws -> String? {
    let author = content.authorAddress.split(separator: "@").last.map { $0.lowercased() } ?? ""
    guard Self.areAligned(author, dkimDomain) else { return "the From domain \(author) does not belong to dkimDomain \(dkimDomain)" }
    if let html = content.html, html.utf8.count > Self.mostHTML { return "the HTML is larger than \(Self.mostHTML >> 10) KiB" }
    guard let pattern = try await urls.match([content.html, content.text, content.amp].compactMap { $0 }) else { return nil }
    return "it contains the blocked URL \(pattern)"
  }

  /// Equal, or one below the other.
  static func areAligned(_ author: String, _ signing: String) -> Bool {
    let signing = signing.lowercased()
    return author == signing || author.hasSuffix("." + signing) || signing.hasSuffix("." + author)
  }
}

/// Parts of URLs that no message may contain, kept in Redis for all hosts; remembered here for five seconds.
actor URLBlocklist {
  struct Row: Codable, Sendable {
    var addedAt: Milliseconds
  }

  static let memory: Milliseconds = 5000
  static let most = 10_000

  private let table: ConfiguredTable<Row>
  private var known: (patterns: [String], at: Milliseconds)?

  init(store: QueueStore) { table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.urlBlocklist)) }

  func patterns() async throws -> [String] {
    let now = SystemClock.now()
    if let known, now - known.at < Self.memory { return known.patterns }
    let patterns = try await table.all().keys.sorted()
    known = (patterns, now)
    return patterns
  }

  /// - Parameter patterns: lower case.
  func add(_ patterns: [String]) async throws {
    for pattern in patterns { try await table.set(pattern, Row(addedAt: SystemClock.now())) }
    known = nil
  }

  func remove(_ pattern: String) async throws -> Bool {
    let wasThere = try await table.remove(pattern)
    known = nil
    return wasThere
  }

  /// The first pattern that one of the texts contains, whatever its case.
  func match(_ texts: [String]) async throws -> String? {
    let patterns = try await patterns()
    guard !patterns.isEmpty else { return nil }
    let texts = texts.map { $0.lowercased() }
    return patterns.first { pattern in texts.contains { $0.contains(pattern) } }
  }
}
