import MailFormat
import MailModel
import Redis

enum ContentError: Error, Equatable, CustomStringConvertible {
  case missing
  case damaged

  var description: String {
    switch self {
    case .missing: "the content is not in the queue"
    case .damaged: "the content does not match its hash"
    }
  }
}

/// Content of messages: from the entry, or from Redis by hash. What many messages share is kept, decoded, while it is
/// the newest; nothing else is cached.
struct ContentSource {
  /// Content limit: `api.max_body_mib` bounds what comes in, this bounds what is unpacked.
  static let limit = 64 << 20

  private let store: QueueStore
  private var latest: (hash: String, content: MessageContent)?

  init(store: QueueStore) { self.store = store }

  mutating func remember(_ hash: String, _ content: MessageContent) { latest = (hash, content) }

  func content(of entry: WorkEntry) async throws -> MessageContent {
    if let latest, latest.hash == entry.contentHash { return latest.content }
    let packed: [UInt8]
    if let inline = entry.content {
      packed = inline
    } else {
      guard let fetched = try await store.content(entry.contentHash), !fetched.isEmpty else { throw ContentError.missing }
      packed = fetched
    }
    guard let octets = try? Compression.decompress(packed, limit: Self.limit),
      Digest.hex(Digest.sha256(octets)) == entry.contentHash, let content = try? MessageContent(decoding: octets)
    else { throw ContentError.damaged }
    return content
  }
}
