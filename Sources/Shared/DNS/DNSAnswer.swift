/// Record types that a mail host asks for.
package enum DNSType: Int32, Sendable {
  case a = 1
  case ptr = 12
  case mx = 15
  case txt = 16
  case aaaa = 28
  case tlsa = 52
}

/// One answer, with the difference that matters to mail: surely nothing, or nobody knows.
package struct DNSAnswer: Sendable, Equatable {
  package enum Status: Sendable, Equatable {
    case found
    /// The name exists without this type.
    case noData
    case noSuchName
    /// SERVFAIL, time-out, bogus: says nothing about the name.
    case unknown(String)
  }

  package var status: Status
  /// Record data in wire form.
  package var records: [[UInt8]]
  package var ttl: Int
  /// DNSSEC-validated.
  package var isSecure: Bool

  package init(status: Status, records: [[UInt8]] = [], ttl: Int = 60, isSecure: Bool = false) {
    self.status = status
    self.records = records
    self.ttl = ttl
    self.isSecure = isSecure
  }
}

package enum DNSError: Error, Sendable, Equatable, CustomStringConvertible {
  case setup(String)

  package var description: String {
    switch self {
    case .setup(let text): "resolver: \(text)"
    }
  }
}

/// Record data in wire form, read.
package enum DNSRecordData {
  package static func address(_ bytes: [UInt8]) -> String? {
    switch bytes.count {
    case 4: return bytes.map(String.init).joined(separator: ".")
    case 16:
      return stride(from: 0, to: 16, by: 2).map {
        String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
      }.joined(separator: ":")
    default: return nil
    }
  }

  /// Lower case, without the last dot; the root is the empty string. Nil when malformed (RFC 1035 §3.1).
  package static func name(_ bytes: some Collection<UInt8>) -> String? {
    let bytes = Array(bytes)
    var labels: [String] = []
    var index = 0
    while index < bytes.count {
      let length = Int(bytes[index])
      if length == 0 { return labels.joined(separator: ".") }
      guard length < 64, index + 1 + length <= bytes.count else { return nil }
      labels.append(String(decoding: bytes[(index + 1)..<(index + 1 + length)], as: UTF8.self).lowercased())
      index += 1 + length
    }
    return nil
  }

  /// The strings of one TXT record without anything between them (RFC 7208 §3.3). Nil when malformed.
  package static func text(_ bytes: [UInt8]) -> String? {
    var whole: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let end = index + 1 + Int(bytes[index])
      guard end <= bytes.count else { return nil }
      whole += bytes[(index + 1)..<end]
      index = end
    }
    return String(decoding: whole, as: UTF8.self)
  }

  package static func mx(_ bytes: [UInt8]) -> (preference: Int, host: String)? {
    guard bytes.count >= 3, let host = name(bytes[2...]) else { return nil }
    return (Int(bytes[0]) << 8 | Int(bytes[1]), host)
  }
}
