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
    /// When they asked last: a link can be followed again.
    var last: Milliseconds
    /// The message whose link they followed first.
    var messageID: String
  }

  private let store: QueueStore
  private let signer: VERPSigner
  private let host: String
  private let done: DoneWriter
  private let unsure: @Sendable () async -> Void

  /// - Parameter unsure: what this host left in `done` is to be read again: a row may stand there that nobody holds.
  init(store: QueueStore, host: String, signer: VERPSigner, done: DoneWriter, unsure: @escaping @Sendable () async -> Void) {
    self.store = store
    self.host = host
    self.signer = signer
    self.done = done
    self.unsure = unsure
  }

  private func hash(_ organisation: String) -> RedisHash {
    RedisHash(client: store.client, key: store.keys.unsubscribed(organisation))
  }

  func token(_ text: some StringProtocol) -> UnsubscribeToken? { UnsubscribeToken(text, signer: signer) }

  /// Durable when it returns: row and event are written in one step, and told once however often they ask.
  /// - Returns: false when they had left before.
  /// - Throws: when Redis is away or its answer was lost; asking again is harmless.
  @discardableResult
  func leave(_ token: UnsubscribeToken, now: Milliseconds) async throws -> Bool {
    let entry = Entry(address: token.address, list: token.list, since: now, last: now, messageID: token.messageID)
    var row = DoneRecord(number: MessageNumber(0), serial: 0, at: now, record: [], outcome: [], deferrals: 0)
    row.events = [Self.event(token.organisation, entry)]
    let id: String?
    do {
      id = try await store.leave(
        host: host, organisation: token.organisation, field: Self.field(token.address, token.list), messageID: token.messageID,
        done: row.encoded(), now: now)
    } catch {
      await unsure()
      throw error
    }
    guard let id else { return false }
    await done.append([(id, row)])
    return true
  }

  /// - Parameter before: when they said that they want the list again: whoever asked to leave after it stays away, also when the two
  ///   cross each other. Nil = whenever they asked.
  /// - Returns: false when they had not left, or have asked since.
  func comeBack(_ address: String, list: String, organisation: String, before: Milliseconds?) async throws -> Bool {
    try await store.rejoin(organisation: organisation, field: Self.field(address, list), before: before)
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
    // An earlier version has a word in place of the second time.
    return Entry(
      address: String(names[0]), list: String(names[1]), since: since, last: Milliseconds(words[1]) ?? since, messageID: String(words[2]))
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
