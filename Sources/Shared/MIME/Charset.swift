internal import Glibc

/// Character sets of mail, by the C library's iconv for those that it is asked for by name here. Anything else, and
/// whatever cannot be converted, is read as UTF-8 when it is UTF-8 and as Latin-1 when not: text is never lost for a label.
package enum Charset {
  /// Lower-case label → iconv's name. A list, because iconv's own names reach converters that mail has no use for.
  private static let names: [String: String] = {
    var table = [
      "iso-2022-jp": "ISO-2022-JP-2", "iso-2022-jp-ms": "ISO-2022-JP-3", "shift_jis": "CP932", "shift-jis": "CP932", "sjis": "CP932",
      "x-sjis": "CP932", "windows-31j": "CP932", "euc-jp": "EUC-JP", "gb2312": "GB18030", "gbk": "GB18030", "gb18030": "GB18030",
      "x-gbk": "GB18030", "hz-gb-2312": "GB18030", "big5": "BIG5-HKSCS", "euc-kr": "CP949", "ks_c_5601-1987": "CP949",
      "iso-2022-kr": "ISO-2022-KR", "koi8-r": "KOI8-R", "koi8-u": "KOI8-U", "utf-16": "UTF-16", "utf-16le": "UTF-16LE",
      "utf-16be": "UTF-16BE", "utf-7": "UTF-7", "tis-620": "TIS-620", "ibm850": "CP850", "cp850": "CP850", "cp866": "CP866",
      "macintosh": "MACINTOSH",
    ]
    for number in 1250...1258 {
      table["windows-\(number)"] = "CP\(number)"
      table["cp\(number)"] = "CP\(number)"
    }
    for part in 1...16 where part != 12 { table["iso-8859-\(part)"] = "ISO-8859-\(part)" }
    return table
  }()

  package static func decode(_ octets: ArraySlice<UInt8>, _ label: String) -> String {
    let label = label.lowercased()
    switch label {
    case "", "us-ascii", "ascii", "utf-8", "utf8", "unknown-8bit", "default", "unknown": return guess(octets)
    default:
      // Escape sequences make ISO-2022-JP pure ASCII to the eye; everything else that is ASCII needs no conversion.
      if !label.hasPrefix("iso-2022"), !label.hasPrefix("utf-"), octets.allSatisfy({ $0 < 0x80 }) {
        return String(decoding: octets, as: UTF8.self)
      }
      guard let name = names[label], let converted = convert(octets, name) else { return guess(octets) }
      return converted
    }
  }

  private static func guess(_ octets: ArraySlice<UInt8>) -> String {
    // The escape to JIS X 0208 in unlabelled mail.
    if octets.contains(0x1B), let japanese = convert(octets, "ISO-2022-JP-2") { return japanese }
    if let text = String(validating: octets, as: UTF8.self) { return text }
    let broken = String(decoding: octets, as: UTF8.self)
    // Mostly good UTF-8 (a cut character) stays UTF-8.
    let bad = broken.unicodeScalars.reduce(0) { $0 + ($1.value == 0xFFFD ? 1 : 0) }
    let high = octets.reduce(0) { $0 + ($1 >= 0x80 ? 1 : 0) }
    if bad * 4 < high { return broken }
    var text = String.UnicodeScalarView()
    for byte in octets { text.append(Unicode.Scalar(byte)) }
    return String(text)
  }

  private static func convert(_ octets: ArraySlice<UInt8>, _ name: String) -> String? {
    guard let descriptor = iconv_open("UTF-8", name), Int(bitPattern: descriptor) != -1 else { return nil }
    defer { iconv_close(descriptor) }
    var input = Array(octets)
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    var consumed = 0
    var faults = 0
    while consumed < input.count {
      var written = 0
      var left = 0
      var isStuck = false
      // iconv takes moving pointers: they are made, used and dropped inside these closures.
      input.withUnsafeMutableBytes { source in
        chunk.withUnsafeMutableBytes { target in
          var from: UnsafeMutablePointer<CChar>? = source.baseAddress.map { ($0 + consumed).assumingMemoryBound(to: CChar.self) }
          var to: UnsafeMutablePointer<CChar>? = target.baseAddress?.assumingMemoryBound(to: CChar.self)
          left = source.count - consumed
          var room = target.count
          let result = iconv(descriptor, &from, &left, &to, &room)
          written = target.count - room
          isStuck = result == Int.max || Int(bitPattern: UInt(bitPattern: Int(result))) == -1
        }
      }
      let before = consumed
      consumed = input.count - left
      output += chunk[..<written]
      guard isStuck || consumed == before else { continue }
      if written == 0 || written < chunk.count - 16 {
        guard consumed < input.count else { break }
        // Not a character of this set, or a cut one: leave the octet out and say so.
        output += [0xEF, 0xBF, 0xBD]
        consumed += 1
        faults += 1
        if faults > 64, faults * 8 > consumed { return nil }
      }
    }
    return String(decoding: output, as: UTF8.self)
  }
}
