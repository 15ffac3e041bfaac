internal import Yams

/// The file as a tree, every scalar still text, every node with its line: types are the reader's business, so that `on` or
/// `0123` mean what their key says and not what YAML 1.1 makes of them.
package indirect enum ConfigNode: Sendable {
  case scalar(String, line: Int)
  case list([ConfigNode], line: Int)
  case map([(key: String, value: ConfigNode)], line: Int)

  package var line: Int {
    switch self {
    case .scalar(_, let line), .list(_, let line), .map(_, let line): line
    }
  }

  package var isEmpty: Bool {
    switch self {
    case .scalar(let text, _): text.isEmpty
    case .list(let items, _): items.isEmpty
    case .map(let pairs, _): pairs.isEmpty
    }
  }

  /// Parses one document. An empty one is an empty map.
  package static func parse(_ text: String) throws(ConfigProblem) -> ConfigNode {
    do {
      guard let node = try Yams.compose(yaml: text) else { return .map([], line: 1) }
      return try convert(node)
    } catch let problem as ConfigProblem {
      throw problem
    } catch let error as YamlError {
      throw ConfigProblem(key: "", line: line(of: error), text: message(of: error))
    } catch {
      throw ConfigProblem(key: "", line: nil, text: "\(error)")
    }
  }

  private static func convert(_ node: Node) throws(ConfigProblem) -> ConfigNode {
    let line = node.mark?.line ?? 0
    switch node {
    case .scalar(let scalar):
      let isNull = scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
      return .scalar(isNull ? "" : scalar.string, line: line)
    case .sequence(let sequence):
      var items: [ConfigNode] = []
      for item in sequence { items.append(try convert(item)) }
      return .list(items, line: line)
    case .mapping(let mapping):
      var pairs: [(key: String, value: ConfigNode)] = []
      for (key, value) in mapping {
        guard case .scalar(let name) = key else {
          throw ConfigProblem(key: "", line: line, text: "a key must be a plain word")
        }
        if pairs.contains(where: { $0.key == name.string }) {
          throw ConfigProblem(key: name.string, line: key.mark?.line, text: "stands here twice")
        }
        pairs.append((name.string, try convert(value)))
      }
      return .map(pairs, line: line)
    case .alias: throw ConfigProblem(key: "", line: line, text: "aliases are not supported")
    }
  }

  private static func line(of error: YamlError) -> Int? {
    switch error {
    case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
    case .duplicatedKeysInMapping(_, let context): context.mark.line
    default: nil
    }
  }

  private static func message(of error: YamlError) -> String {
    switch error {
    case .scanner(_, let text, _, _), .parser(_, let text, _, _), .composer(_, let text, _, _): "is not YAML: \(text)"
    case .duplicatedKeysInMapping(let keys, _): "the key \(keys.map { "\($0)" }.joined(separator: ", ")) stands here twice"
    default: "is not YAML: \(error)"
    }
  }
}

/// One thing wrong with the configuration, or worth a word.
package struct ConfigProblem: Error, Sendable, Equatable, CustomStringConvertible {
  /// Dotted path; empty for the file as a whole.
  package var key: String
  package var line: Int?
  package var text: String

  package init(key: String, line: Int?, text: String) {
    self.key = key
    self.line = line
    self.text = text
  }

  package var description: String {
    (line.map { "line \($0): " } ?? "") + (key.isEmpty ? "" : "\(key) ") + text
  }
}
