import Foundation

/// What operators ordered: stands over the configuration file across restarts, in `<state_dir>/operator.json`.
struct OperatorOrders: Codable, Sendable, Equatable {
  struct Pull: Codable, Sendable, Equatable {
    var since: Int64
    var reason: String
  }

  /// An IP that the file does not have, or not in these pools.
  struct Added: Codable, Sendable, Equatable {
    var pools: [String]
    var ehlo: String
    var `public`: String
    var warmed: Bool
  }

  var pulled: [String: Pull] = [:]
  var added: [String: Added] = [:]
  /// Addresses of the file that are out, with the time of the order.
  var removed: [String: Int64] = [:]

  init() {}

  /// Files of the first version have pulls alone.
  init(from decoder: any Decoder) throws {
    let box = try decoder.container(keyedBy: CodingKeys.self)
    pulled = try box.decodeIfPresent([String: Pull].self, forKey: .pulled) ?? [:]
    added = try box.decodeIfPresent([String: Added].self, forKey: .added) ?? [:]
    removed = try box.decodeIfPresent([String: Int64].self, forKey: .removed) ?? [:]
  }

  static func read(_ path: String) throws -> OperatorOrders {
    guard FileManager.default.fileExists(atPath: path) else { return OperatorOrders() }
    guard let data = FileManager.default.contents(atPath: path) else { throw SetupError("\(path) cannot be read") }
    do { return try JSONDecoder().decode(OperatorOrders.self, from: data) } catch {
      throw SetupError("\(path) holds no operators' orders any more: mend it, or move it away and give them again")
    }
  }

  func write(_ path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}
