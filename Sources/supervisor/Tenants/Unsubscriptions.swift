import MailFormat
import MailModel
import Redis

/// Who left which list of an organisation (RFC 8058). Read by accept and dispatch in Redis: what is sent to that list does not
/// reach them; all other mail of the organisation does.
struct Unsubscriptions: Sendable {
  struct Entry: Sendable, Equatable {
    var address: String
    var list: String
    var since: Milliseconds
    var messageID: String
    /// Its event is in the outbox.
    var isTold: Bool
  }

  private let store: QueueStore
  private let signer: VERPSigner
  private let tell: @Sendable ([DoneRecord.Event]) async throws -> Void

  /// - Parameter tell: stores events durably, each once by its id.
  init(store: QueueStore, signer: VERPSigner, tell: @escaping @Sendable ([DoneRecord.Event]) async throws -> Void) {
    self.store = store
    self.signer = signer
    self.tell = tell
  }

  private func hash(_ organisation: String) -> RedisHash {
    RedisHash(client: store.client, key: store.keys.unsubscribed(organisation))
  }

  func token(_ text: some StringProtocol) -> UnsubscribeToken? { UnsubscribeToken(text, signer: signer) }

  /// Durable when it returns: the row first, then the event. Asking again is harmless, and tells the event again only if it was
  /// not told.
  /// - Returns: false when they had left before.
  @discardableResult
  func leave(_ token: UnsubscribeToken, now: Milliseconds) async throws -> Bool {
    let hash = hash(token.organisation)
    let field = Self.field(token.address, token.list)
    let isNew = try await hash.setIfAbsent(field, "\(now) untold \(token.messageID)")
    guard let row = try await hash.get(field), let entry = Self.entry(field, row), !entry.isTold else { return isNew }
    try await tell([Self.event(token.organisation, entry)])
    try await hash.set(field, "\(entry.since) told \(entry.messageID)")
    return isNew
  }

  /// False when they had not left.
  func comeBack(_ address: String, list: String, organisation: String) async throws -> Bool {
    try await hash(organisation).remove(Self.field(address, list))
  }

  func page(_ organisation: String, cursor: String, limit: Int) async throws -> (entries: [Entry], next: String?) {
    let (rows, next) = try await hash(organisation).scan(from: cursor, count: limit)
    return (rows.compactMap { Self.entry($0.field, $0.row) }.sorted { ($0.list, $0.address) < ($1.list, $1.address) }, next)
  }

  private static func field(_ address: String, _ list: String) -> String { "\(address)\n\(list)" }

  private static func entry(_ field: String, _ row: String) -> Entry? {
    let names = field.split(separator: "\n", maxSplits: 1)
    let words = row.split(separator: " ", maxSplits: 2)
    guard names.count == 2, words.count == 3, let since = Int64(words[0]) else { return nil }
    return Entry(
      address: String(names[0]), list: String(names[1]), since: since, messageID: String(words[2]), isTold: words[1] == "told")
  }

  private static func event(_ organisation: String, _ entry: Entry) -> DoneRecord.Event {
    var event = DeliveryEvent(.unsubscribed)
    event.set("messageId", entry.messageID)
    event.set("organizationId", organisation, limit: 128)
    event.set("recipient", entry.address, limit: 320)
    event.set("list", entry.list, limit: 128)
    event.set("timestamp", entry.since)
    let name = Digest.hex(Array(Digest.sha256(Array("\(organisation)\n\(entry.address)\n\(entry.list)".utf8)).prefix(12)))
    return DoneRecord.Event(id: "unsubscribed-\(name)-\(entry.since)", kind: event.kind.rawValue, json: event.json, fallbackJSON: nil)
  }
}
