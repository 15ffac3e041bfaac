internal import Foundation

/// Reads typed values by dotted key and collects every problem instead of stopping at the first. For each key:
/// `OWLAT_<KEY>` from the environment, then the file, then upstream's variable, then the default.
package struct ConfigReader {
  private let root: ConfigNode
  let environment: [String: String]
  private let readFile: (String) -> String?
  package private(set) var problems: [ConfigProblem] = []
  /// Keys that somebody set, for notices.
  package private(set) var present: Set<String> = []
  private var known: Set<String> = []

  package init(root: ConfigNode, environment: [String: String], readFile: @escaping (String) -> String?) {
    self.root = root
    self.environment = environment
    self.readFile = readFile
  }

  package mutating func problem(_ key: String, _ text: String, line: Int? = nil) {
    problems.append(ConfigProblem(key: full(key), line: line ?? self.line(of: key), text: text))
  }

  // MARK: scalars

  package mutating func text(_ key: String, upstream: String? = nil, _ fallback: String) -> String {
    guard let found = scalar(key, upstream) else { return fallback }
    return found.text
  }

  package mutating func integer(_ key: String, upstream: String? = nil, _ range: ClosedRange<Int>, _ fallback: Int) -> Int {
    guard let found = scalar(key, upstream) else { return fallback }
    guard let value = Int(found.text), range.contains(value) else {
      problem(key, "must be a whole number from \(range.lowerBound) to \(range.upperBound)", line: found.line)
      return fallback
    }
    return value
  }

  package mutating func number(_ key: String, _ range: ClosedRange<Double>, _ fallback: Double) -> Double {
    guard let found = scalar(key, nil) else { return fallback }
    guard let value = Double(found.text), value.isFinite, range.contains(value) else {
      problem(key, "must be a number from \(range.lowerBound) to \(range.upperBound)", line: found.line)
      return fallback
    }
    return value
  }

  package mutating func bool(_ key: String, upstream: String? = nil, _ fallback: Bool) -> Bool {
    guard let found = scalar(key, upstream) else { return fallback }
    switch found.text.lowercased() {
    case "true", "yes", "on": return true
    case "false", "no", "off": return false
    default:
      problem(key, "must be true or false", line: found.line)
      return fallback
    }
  }

  /// Milliseconds.
  package mutating func duration(_ key: String, _ range: ClosedRange<Int64>, _ fallback: Int64) -> Int64 {
    guard let found = scalar(key, nil) else { return fallback }
    guard let value = Self.milliseconds(found.text) else {
      problem(key, "must be a whole number with ms, s, m, h or d, like 30s", line: found.line)
      return fallback
    }
    guard range.contains(value) else {
      problem(key, "must be from \(Self.spell(range.lowerBound)) to \(Self.spell(range.upperBound))", line: found.line)
      return fallback
    }
    return value
  }

  package mutating func choice<Value: RawRepresentable & CaseIterable>(_ key: String, _ fallback: Value) -> Value
  where Value.RawValue == String {
    guard let found = scalar(key, nil) else { return fallback }
    guard let value = Value(rawValue: found.text) else {
      problem(key, "must be one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))", line: found.line)
      return fallback
    }
    return value
  }

  /// A secret, or the file that holds it (`<key>_file`; a bare name is looked for among systemd's credentials).
  package mutating func secret(_ key: String, upstream: String? = nil) -> String {
    let direct = scalar(key, upstream)
    guard let file = scalar(key + "_file", nil), !file.text.isEmpty else { return direct?.text ?? "" }
    if let direct, !direct.text.isEmpty, direct.origin != .upstream {
      problem(key, "and \(key)_file exclude each other", line: file.line)
    }
    var path = file.text
    if !path.hasPrefix("/"), let directory = environment["CREDENTIALS_DIRECTORY"] { path = directory + "/" + path }
    guard let content = readFile(path) else {
      problem(key + "_file", "cannot be read", line: file.line)
      return ""
    }
    return content.trimmingCharacters(in: .newlines)
  }

  /// Nil when the file cannot be read.
  package func content(of path: String) -> String? { readFile(path) }

  // MARK: lists and maps

  package mutating func texts(_ key: String, _ fallback: [String]) -> [String] {
    guard let node = node(key) else { return fallback }
    return texts(of: node, key)
  }

  package mutating func texts(of node: ConfigNode, _ key: String) -> [String] {
    switch node {
    case .list(let items, _):
      return items.compactMap { item in
        if case .scalar(let text, _) = item { return text }
        problem(key, "must be a list of words", line: item.line)
        return nil
      }
    case .scalar(let text, _): return text.isEmpty ? [] : [text]
    case .map:
      problem(key, "must be a list", line: node.line)
      return []
    }
  }

  package mutating func list(_ key: String) -> [ConfigNode]? {
    guard let node = node(key) else { return nil }
    switch node {
    case .list(let items, _): return items
    case .scalar(let text, _) where text.isEmpty: return []
    default:
      problem(key, "must be a list", line: node.line)
      return nil
    }
  }

  /// A list, or one item that stands alone.
  package mutating func items(_ key: String) -> [ConfigNode] {
    guard let node = node(key) else { return [] }
    switch node {
    case .list(let items, _): return items
    case .scalar(let text, _) where text.isEmpty: return []
    default: return [node]
    }
  }

  package mutating func map(_ key: String) -> [(key: String, value: ConfigNode)]? {
    guard let node = node(key) else { return nil }
    switch node {
    case .map(let pairs, _): return pairs
    case .scalar(let text, _) where text.isEmpty: return []
    default:
      problem(key, "must be a mapping", line: node.line)
      return nil
    }
  }

  /// A reader of one item of a list or map, whose keys are then told under `path`.
  package mutating func item(_ node: ConfigNode, _ path: String, _ read: (inout ConfigReader) -> Void) {
    var inner = ConfigReader(root: node, environment: environment, readFile: readFile)
    inner.usesEnvironment = false
    inner.prefix = path
    read(&inner)
    inner.finish()
    problems += inner.problems
  }

  private var usesEnvironment = true
  private var prefix = ""

  /// Reports keys that nobody asked for.
  package mutating func finish() {
    check(root, "")
    problems.sort { ($0.line ?? Int.max, $0.key) < ($1.line ?? Int.max, $1.key) }
  }

  /// Marks a whole subtree as read by other means.
  package mutating func know(_ key: String) { known.insert(key) }

  private mutating func check(_ node: ConfigNode, _ path: String) {
    guard case .map(let pairs, _) = node else { return }
    for (name, value) in pairs {
      let key = path.isEmpty ? name : path + "." + name
      if known.contains(key) { continue }
      let hasKnownChild = known.contains { $0.hasPrefix(key + ".") }
      if hasKnownChild {
        if case .map = value {
          check(value, key)
        } else if !value.isEmpty {
          problems.append(ConfigProblem(key: full(key), line: value.line, text: "must be a mapping"))
        }
      } else {
        problems.append(ConfigProblem(key: full(key), line: value.line, text: "is not a key of this configuration"))
      }
    }
  }

  private func full(_ key: String) -> String { prefix.isEmpty ? key : key.isEmpty ? prefix : prefix + "." + key }

  // MARK: finding

  private enum Origin { case override, file, upstream }

  private mutating func scalar(_ key: String, _ upstream: String?) -> (text: String, line: Int?, origin: Origin)? {
    known.insert(key)
    if usesEnvironment, let text = environment[Self.variable(key)] {
      present.insert(key)
      return (text, nil, .override)
    }
    if let node = lookup(key) {
      guard case .scalar(let text, let line) = node else {
        problem(key, "must be a single value", line: node.line)
        return nil
      }
      if !text.isEmpty { present.insert(key) }
      if !text.isEmpty || upstream.flatMap({ environment[$0] }) == nil { return text.isEmpty ? nil : (text, line, .file) }
    }
    if usesEnvironment, let upstream, let text = environment[upstream], !text.isEmpty {
      present.insert(key)
      return (text, nil, .upstream)
    }
    return nil
  }

  private mutating func node(_ key: String) -> ConfigNode? {
    known.insert(key)
    if usesEnvironment, let text = environment[Self.variable(key)] {
      present.insert(key)
      do { return try ConfigNode.parse(text) } catch {
        problem(key, "in the environment \(error.text)")
        return nil
      }
    }
    guard let node = lookup(key) else { return nil }
    if !node.isEmpty { present.insert(key) }
    return node
  }

  private func lookup(_ key: String) -> ConfigNode? {
    var node = root
    for name in key.split(separator: ".") {
      guard case .map(let pairs, _) = node, let next = pairs.first(where: { $0.key == name })?.value else { return nil }
      node = next
    }
    return node
  }

  private func line(of key: String) -> Int? { lookup(key)?.line }

  /// `api.master_key` → `OWLAT_API_MASTER_KEY`.
  package static func variable(_ key: String) -> String {
    "OWLAT_" + key.uppercased().replacing(".", with: "_")
  }

  package static func milliseconds(_ text: String) -> Int64? {
    let units: [(String, Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
    for (unit, factor) in units where text.hasSuffix(unit) {
      let digits = text.dropLast(unit.count)
      guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int64(digits) else { continue }
      let (value, overflow) = count.multipliedReportingOverflow(by: factor)
      return overflow ? nil : value
    }
    return nil
  }

  package static func spell(_ milliseconds: Int64) -> String {
    for (unit, factor) in [("d", Int64(86_400_000)), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
    where milliseconds != 0 && milliseconds % factor == 0 {
      return "\(milliseconds / factor)\(unit)"
    }
    return "\(milliseconds)ms"
  }
}
