import Foundation

/// One value on this host's disk, replaced as a whole: what must be the same after any end of the process.
struct StateFile<Value: Codable & Sendable>: Sendable {
  let path: String

  /// Nil when there is none.
  func read() throws -> Value? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return try JSONDecoder().decode(Value.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  func write(_ value: Value) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    try encoder.encode(value).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}
