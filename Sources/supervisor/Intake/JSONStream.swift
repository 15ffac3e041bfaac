/// A JSON object read in pieces, never held whole: its members are handed out as raw values, and of the lists that are named
/// each element by itself. The grammar (RFC 8259) of the whole document is checked on the way, so that a body that is cut or
/// broken anywhere is known before anything of it is acted upon. (Foundation reads whole documents only.)
struct JSONStream {
  enum Fault: Error, Equatable {
    /// Octet at which it is no JSON any more.
    case malformed(at: Int)
    case notAnObject
    case tooDeep
  }

  enum Event: Equatable {
    case listBegins(String)
    case element(String, [UInt8])
    case member(String, [UInt8])
  }

  private enum Expect { case value, valueOrEnd, key, keyOrEnd, colon, commaOrEnd, nothing }
  private enum Token { case none, string(isKey: Bool), scalar }

  private static let maxDepth = 64

  private let lists: Set<String>
  private var expect: Expect = .value
  private var token: Token = .none
  private var stack: [UInt8] = []
  private var isEscaped = false
  private var hexDigits = 0
  private var scalar: [UInt8] = []
  private var key: [UInt8] = []
  private var member = ""
  private var capture: [UInt8] = []
  /// Depth at which the value that is being captured began; nil = none is.
  private var captureDepth: Int?
  private var isInList = false
  private var position = 0

  /// - Parameter lists: members whose elements are handed out one by one.
  init(lists: Set<String>) { self.lists = lists }

  mutating func feed(_ bytes: some Sequence<UInt8>, _ emit: (Event) throws -> Void) throws {
    for byte in bytes {
      try take(byte, emit)
      position += 1
    }
  }

  /// - Throws: when the document is not complete.
  func finish() throws {
    guard case .nothing = expect, case .none = token else { throw Fault.malformed(at: position) }
  }

  private var malformed: Fault { .malformed(at: position) }

  private mutating func take(_ byte: UInt8, _ emit: (Event) throws -> Void) throws {
    switch token {
    case .string(let isKey):
      if captureDepth != nil { capture.append(byte) }
      try takeInString(byte, isKey, emit)
      return
    case .scalar:
      if Self.isScalarByte(byte) {
        guard scalar.count < 512 else { throw malformed }
        scalar.append(byte)
        if captureDepth != nil { capture.append(byte) }
        return
      }
      guard Self.isScalar(scalar) else { throw malformed }
      token = .none
      try valueEnds(emit)
    case .none: break
    }
    switch byte {
    case 0x20, 0x09, 0x0A, 0x0D:
      if captureDepth != nil { capture.append(byte) }
    case 0x22:
      switch expect {
      case .value, .valueOrEnd:
        try valueBegins(byte, emit)
        token = .string(isKey: false)
      case .key, .keyOrEnd:
        if captureDepth != nil { capture.append(byte) }
        key = []
        token = .string(isKey: true)
      default: throw malformed
      }
    case 0x7B, 0x5B:
      guard expect == .value || expect == .valueOrEnd else { throw malformed }
      guard stack.count < Self.maxDepth else { throw Fault.tooDeep }
      try valueBegins(byte, emit)
      stack.append(byte)
      expect = byte == 0x7B ? .keyOrEnd : .valueOrEnd
    case 0x7D, 0x5D:
      guard let open = stack.last, byte == open + 2,
        expect == .commaOrEnd || expect == (byte == 0x7D ? .keyOrEnd : .valueOrEnd)
      else { throw malformed }
      if captureDepth != nil { capture.append(byte) }
      stack.removeLast()
      if isInList, stack.count == 1 {
        isInList = false
        expect = .commaOrEnd
      } else {
        try valueEnds(emit)
      }
    case 0x3A:
      guard expect == .colon else { throw malformed }
      if captureDepth != nil { capture.append(byte) }
      expect = .value
    case 0x2C:
      guard expect == .commaOrEnd, let open = stack.last else { throw malformed }
      if captureDepth != nil { capture.append(byte) }
      expect = open == 0x7B ? .key : .value
    default:
      guard expect == .value || expect == .valueOrEnd, Self.isScalarByte(byte) else { throw malformed }
      try valueBegins(byte, emit)
      scalar = [byte]
      token = .scalar
    }
  }

  private mutating func takeInString(_ byte: UInt8, _ isKey: Bool, _ emit: (Event) throws -> Void) throws {
    if hexDigits > 0 {
      guard (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte) else { throw malformed }
      hexDigits -= 1
      return
    }
    if isEscaped {
      guard "\"\\/bfnrtu".utf8.contains(byte) else { throw malformed }
      isEscaped = false
      if byte == 0x75 { hexDigits = 4 }
      return
    }
    guard byte >= 0x20 else { throw malformed }
    switch byte {
    case 0x5C: isEscaped = true
    case 0x22:
      token = .none
      if isKey {
        if stack.count == 1 { member = String(decoding: key, as: UTF8.self) }
        expect = .colon
      } else {
        try valueEnds(emit)
      }
    default: if isKey, stack.count == 1, key.count < 128 { key.append(byte) }
    }
  }

  private mutating func valueBegins(_ byte: UInt8, _ emit: (Event) throws -> Void) throws {
    if stack.isEmpty {
      guard byte == 0x7B else { throw Fault.notAnObject }
    } else if captureDepth != nil {
      capture.append(byte)
    } else if stack.count == 1, byte == 0x5B, lists.contains(member) {
      isInList = true
      try emit(.listBegins(member))
    } else if stack.count == 1 || (stack.count == 2 && isInList) {
      captureDepth = stack.count
      capture = [byte]
    }
  }

  private mutating func valueEnds(_ emit: (Event) throws -> Void) throws {
    expect = stack.isEmpty ? .nothing : .commaOrEnd
    guard captureDepth == stack.count else { return }
    captureDepth = nil
    let value = capture
    capture = []
    try emit(isInList ? .element(member, value) : .member(member, value))
  }

  private static func isScalarByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x61...0x7A, 0x45, 0x2B, 0x2D, 0x2E: true
    default: false
    }
  }

  /// `true`, `false`, `null` or a number.
  private static func isScalar(_ bytes: [UInt8]) -> Bool {
    if bytes == Array("true".utf8) || bytes == Array("false".utf8) || bytes == Array("null".utf8) { return true }
    var at = 0
    func digits() -> Int {
      let start = at
      while at < bytes.count, (0x30...0x39).contains(bytes[at]) { at += 1 }
      return at - start
    }
    if at < bytes.count, bytes[at] == 0x2D { at += 1 }
    let first = at
    guard digits() > 0, bytes[first] != 0x30 || at == first + 1 else { return false }
    if at < bytes.count, bytes[at] == 0x2E {
      at += 1
      guard digits() > 0 else { return false }
    }
    if at < bytes.count, bytes[at] == 0x65 || bytes[at] == 0x45 {
      at += 1
      if at < bytes.count, bytes[at] == 0x2B || bytes[at] == 0x2D { at += 1 }
      guard digits() > 0 else { return false }
    }
    return at == bytes.count
  }
}
