import Foundation
import MailModel

/// A small JSON object that a management route got: members read one by one, each refused by its name.
struct JSONBody {
  let object: [String: Any]

  /// - Throws: 400 when it is no JSON object.
  init(_ octets: Data) throws(APIError) {
    guard let object = (try? JSONSerialization.jsonObject(with: octets)) as? [String: Any] else { throw .bad("Invalid JSON body") }
    self.object = object
  }

  func has(_ name: String) -> Bool { object[name].map { !($0 is NSNull) } ?? false }

  /// 1 to `limit` octets without control characters; nil when absent.
  func text(_ name: String, limit: Int = 256) throws(APIError) -> String? {
    guard has(name) else { return nil }
    guard let text = object[name] as? String, (1...limit).contains(text.utf8.count), !SendValidator.hasControl(text) else {
      throw .bad("\(name) must be 1 to \(limit) octets without control characters")
    }
    return text
  }

  /// A whole number in a range; nil when absent. True and false are no numbers.
  func integer(_ name: String, _ range: ClosedRange<Int>) throws(APIError) -> Int? {
    guard has(name) else { return nil }
    guard let number = object[name] as? NSNumber, String(cString: number.objCType) != "c",
      let value = Int(exactly: number.doubleValue), range.contains(value)
    else { throw .bad("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)") }
    return value
  }

  /// True or false; nil when absent.
  func bool(_ name: String) throws(APIError) -> Bool? {
    guard has(name) else { return nil }
    guard let number = object[name] as? NSNumber, String(cString: number.objCType) == "c" else {
      throw .bad("\(name) must be true or false")
    }
    return number.boolValue
  }

  /// A finite number; nil when it is absent or something else. True and false are no numbers.
  func double(_ name: String) -> Double? {
    guard let number = object[name] as? NSNumber, String(cString: number.objCType) != "c", number.doubleValue.isFinite else { return nil }
    return number.doubleValue
  }

  func domain(_ name: String) throws(APIError) -> String? {
    guard let text = try text(name, limit: 253) else { return nil }
    guard let domain = DomainName.ascii(text), DomainName.isMailDomain(domain) else { throw .bad("\(name) must be a domain name") }
    return domain
  }

  /// Domain names as A-labels, each once, in their order; nil when absent or null.
  func domains(_ name: String, max: Int) throws(APIError) -> [String]? {
    guard has(name) else { return nil }
    guard let list = object[name] as? [String], list.count <= max else {
      throw .bad("\(name) must be a list of at most \(max) domain names")
    }
    var domains: [String] = []
    var seen: Set<String> = []
    for (index, text) in list.enumerated() {
      guard let domain = DomainName.ascii(text.trimmingCharacters(in: .whitespaces)), DomainName.isMailDomain(domain) else {
        throw .bad("\(name)[\(index)] must be a domain name")
      }
      if seen.insert(domain).inserted { domains.append(domain) }
    }
    return domains
  }

  func objects(_ name: String, max: Int) throws(APIError) -> [JSONBody]? {
    guard has(name) else { return nil }
    guard let list = object[name] as? [[String: Any]] else { throw .bad("\(name) must be a list of objects") }
    guard list.count <= max else { throw .bad("\(name) must be at most \(max)") }
    return list.map(JSONBody.init(object:))
  }

  init(object: [String: Any]) { self.object = object }
}

extension JSONObject {
  /// `[…]` of objects.
  static func list(_ objects: [JSONObject]) -> Value { .raw("[" + objects.map(\.string).joined(separator: ",") + "]") }

  static func list(_ texts: [String]) -> Value { .raw("[" + texts.map(JSONText.quoted).joined(separator: ",") + "]") }

  /// Leaves the member out when there is no value.
  mutating func add(_ name: String, _ text: String?) { if let text { fields.append((name, .text(text))) } }
  mutating func add(_ name: String, _ number: Int64?) { if let number { fields.append((name, .number(number))) } }
}
