/// Reads the text that Redis answers to INFO: lines `name:value`.
package enum RedisInfo {
  package static func word(_ name: String, in text: String) -> String? {
    guard let line = text.split(separator: "\r\n").first(where: { $0.hasPrefix(name + ":") }) else { return nil }
    return String(line.dropFirst(name.utf8.count + 1))
  }

  /// Nil when there is no such line, or no whole number in it.
  package static func figure(_ name: String, in text: String) -> Int? { word(name, in: text).flatMap { Int($0) } }
}
