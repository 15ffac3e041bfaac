import CShims
import Foundation
import MailFormat
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

  /// - Parameter values: of a template's names; its texts are judged as this recipient gets them.
  /// - Returns: why it may not go; nil when it may.
  func objection(to content: MessageContent, dkimDomain: String, values: [MessageRecord.TemplateValue] = []) async throws -> String? {
    let author = content.authorAddress.split(separator: "@").last.map { $0.lowercased() } ?? ""
    guard Self.areAligned(author, dkimDomain) else { return "the From domain \(author) does not belong to dkimDomain \(dkimDomain)" }
    if let html = content.html, html.utf8.count > Self.mostHTML { return "the HTML is larger than \(Self.mostHTML >> 10) KiB" }
    let patterns = try await urls.patterns()
    guard !patterns.isEmpty else { return nil }
    let filled = content.isTemplate && !values.isEmpty ? Template.fill(content, values) : content
    guard let pattern = Self.match(patterns, in: [filled.html, filled.text, filled.amp].compactMap { $0 }) else { return nil }
    return "it contains the blocked URL \(pattern)"
  }

  /// The first pattern that one of the texts contains, whatever the case of its ASCII letters. By octets: characters that join
  /// their neighbours hide nothing.
  static func match(_ patterns: [String], in texts: [String]) -> String? {
    for text in texts {
      let octets = text.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
      let found = octets.withUnsafeBytes { haystack in
        patterns.first { pattern in
          var pattern = pattern
          return pattern.withUTF8 { shim_contains(haystack.baseAddress, haystack.count, $0.baseAddress, $0.count) == 1 }
        }
      }
      if let found { return found }
    }
    return nil
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
  static let most = 1_000

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

  /// - Parameter patterns: ASCII letters in lower case.
  /// - Returns: false when there would be too many; nothing is added then.
  func add(_ patterns: [String]) async throws -> Bool {
    known = nil
    guard Set(try await self.patterns()).union(patterns).count <= Self.most else { return false }
    for pattern in patterns { try await table.set(pattern, Row(addedAt: SystemClock.now())) }
    known = nil
    return true
  }

  func remove(_ pattern: String) async throws -> Bool {
    let wasThere = try await table.remove(pattern)
    known = nil
    return wasThere
  }
}
