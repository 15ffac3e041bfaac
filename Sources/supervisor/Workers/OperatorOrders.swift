import Foundation

/// What operators ordered: stands over the configuration file across restarts, in `<state_dir>/operator.json`.
struct OperatorOrders: Codable, Sendable, Equatable {
  struct Pull: Codable, Sendable, Equatable {
    var since: Int64
    var reason: String
  }

  var pulled: [String: Pull] = [:]

  static func read(_ path: String) throws -> OperatorOrders {
    guard FileManager.default.fileExists(atPath: path) else { return OperatorOrders() }
    return try JSONDecoder().decode(OperatorOrders.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  func write(_ path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}
