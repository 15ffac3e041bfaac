internal import Foundation

/// A small schema of a JSON document: types, required and optional members, enumerations. A member that it does not declare
/// is a fault, so that nothing goes out unnoticed.
package indirect enum JSONShape: Sendable {
  case text
  case oneOf([String])
  /// RFC 3339 in UTC, to the millisecond.
  case time
  case integer
  case number
  case bool
  case nullable(JSONShape)
  case list(JSONShape)
  /// Members by name; one whose name ends in `?` may be absent.
  case object([String: JSONShape])
  /// Names that are values themselves, such as states that are counted.
  case map(JSONShape)
  case either(JSONShape, JSONShape)

  /// What is wrong with a document, each with its place; empty when it has this shape.
  package func faults(in value: JSONValue, at path: String = "$") -> [String] {
    switch (self, value) {
    case (.text, .text), (.number, .number), (.bool, .bool), (.nullable, .null): return []
    case (.integer, .number(let number)) where number == number.rounded(): return []
    case (.oneOf(let names), .text(let text)) where names.contains(text): return []
    case (.time, .text(let text)) where Self.isTime(text): return []
    case (.nullable(let shape), let value): return shape.faults(in: value, at: path)
    case (.list(let shape), .list(let items)):
      return items.enumerated().flatMap { shape.faults(in: $1, at: "\(path)[\($0)]") }
    case (.map(let shape), .object(let members)):
      return members.flatMap { shape.faults(in: $1, at: "\(path).\($0)") }
    case (.object(let shapes), .object(let members)): return Self.faults(of: members, shapes, path)
    case (.either(let one, let other), let value):
      let faults = one.faults(in: value, at: path)
      return faults.isEmpty || other.faults(in: value, at: path).isEmpty ? [] : faults
    default: return ["\(path) is \(value.json.prefix(80)), not \(name)"]
    }
  }

  private static func faults(of members: [String: JSONValue], _ shapes: [String: JSONShape], _ path: String) -> [String] {
    var faults: [String] = []
    var declared: Set<String> = []
    for (key, shape) in shapes.sorted(by: { $0.key < $1.key }) {
      let name = key.hasSuffix("?") ? String(key.dropLast()) : key
      declared.insert(name)
      if let value = members[name] {
        faults += shape.faults(in: value, at: "\(path).\(name)")
      } else if name == key {
        faults.append("\(path).\(name) is absent")
      }
    }
    return faults + members.keys.filter { !declared.contains($0) }.sorted().map { "\(path).\($0) is not declared" }
  }

  private static func isTime(_ text: String) -> Bool {
    text.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/#) != nil
  }

  private var name: String {
    switch self {
    case .text: "text"
    case .oneOf(let names): "one of \(names.joined(separator: ", "))"
    case .time: "a time in RFC 3339"
    case .integer: "a whole number"
    case .number: "a number"
    case .bool: "true or false"
    case .nullable(let shape): "null or \(shape.name)"
    case .list: "a list"
    case .object, .map: "an object"
    case .either(let one, let other): "\(one.name) or \(other.name)"
    }
  }
}
