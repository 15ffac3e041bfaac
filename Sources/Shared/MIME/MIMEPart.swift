/// One node of a mail as it came (RFC 2045, 2046), a view into its octets: nothing is decoded before it is asked for.
///
/// Reading never fails. What is broken is read as mail readers do: a multipart without its boundary by the boundary that its
/// body shows, without a closing delimiter to the end, nodes beyond ``MIMELimits`` as leaves without children.
package struct MIMEPart: Sendable {
  package let headers: HeaderBlock
  /// `text/plain`, lower case.
  package let type: String
  package let parameters: HeaderParameters
  /// Encoded as it came.
  package let body: ArraySlice<UInt8>
  /// Of a multipart its parts; of message/rfc822 and text/rfc822-headers the one message inside.
  package internal(set) var parts: [MIMEPart] = []

  package var isMultipart: Bool { type.hasPrefix("multipart/") }
  package var isEmbeddedMessage: Bool { Self.embedded.contains(type) }
  package var encoding: String {
    (headers.first("content-transfer-encoding") ?? "").lowercased().filter { !$0.isWhitespace && $0 != ";" && $0 != "\"" }
  }
  package var fileName: String? {
    HeaderParameters(headers.first("content-disposition"))["filename"] ?? parameters["name"]
  }

  /// The decoded octets, at most `limit`.
  package func content(limit: Int) -> [UInt8] { TransferDecoding.decode(body, encoding, limit: limit) }

  /// The decoded text, from at most `limit` octets.
  package func text(limit: Int) -> String {
    var octets = content(limit: limit)
    // Bare CR line ends would be lost among those of other parts.
    if !octets.contains(0x0A) { for index in octets.indices where octets[index] == 0x0D { octets[index] = 0x0A } }
    return Charset.decode(octets[...], parameters["charset"] ?? "")
  }

  /// This node and all below it, depth first, without going into embedded messages.
  package var outline: [MIMEPart] { isEmbeddedMessage ? [self] : [self] + parts.flatMap(\.outline) }

  static let embedded: Set<String> = [
    "message/rfc822", "message/global", "text/rfc822-headers", "text/rfc822-header", "message/rfc822-headers", "message/global-headers",
    "text/rfc822", "message/partial",
  ]

  package static func read(_ octets: [UInt8]) -> MIMEPart {
    var reader = MIMEReader()
    return reader.message(octets[...], depth: 0)
  }

  package init(headers: HeaderBlock, type: String, parameters: HeaderParameters, body: ArraySlice<UInt8>) {
    self.headers = headers
    self.type = type
    self.parameters = parameters
    self.body = body
  }
}

/// Reads nodes and keeps count of them. Each level looks once at its octets, so that the work is depth × size.
struct MIMEReader {
  private var count = 0

  mutating func message(_ octets: ArraySlice<UInt8>, depth: Int, defaultType: String = "text/plain") -> MIMEPart {
    count += 1
    let (headers, bodyStart) = HeaderBlock.read(octets)
    let parameters = HeaderParameters(headers.first("content-type"))
    var type = parameters.value.contains("/") ? parameters.value : ""
    if type.isEmpty { type = parameters.value.isEmpty ? defaultType : parameters.value == "text" ? "text/plain" : defaultType }
    var part = MIMEPart(headers: headers, type: type, parameters: parameters, body: octets[bodyStart...])
    guard depth < MIMELimits.depth, count < MIMELimits.parts else { return part }
    if part.isMultipart {
      let isDigest = type == "multipart/digest"
      part.parts = split(part.body, parameters["boundary"], depth, isDigest ? "message/rfc822" : "text/plain")
    } else if part.isEmbeddedMessage {
      let inner: ArraySlice<UInt8> =
        switch part.encoding {
        case "base64", "quoted-printable": part.content(limit: MIMELimits.embeddedOctets)[...]
        default: part.body
        }
      part.parts = [message(inner, depth: depth + 1)]
    }
    return part
  }

  private mutating func split(_ body: ArraySlice<UInt8>, _ boundary: String?, _ depth: Int, _ defaultType: String) -> [MIMEPart] {
    if let boundary, !boundary.isEmpty {
      let parts = split(body, Array(("--" + boundary).utf8), depth, defaultType)
      if !parts.isEmpty { return parts }
    }
    guard let shown = shownBoundary(body) else { return [] }
    return split(body, shown, depth, defaultType)
  }

  private mutating func split(_ body: ArraySlice<UInt8>, _ delimiter: [UInt8], _ depth: Int, _ defaultType: String) -> [MIMEPart] {
    var parts: [MIMEPart] = []
    var start: Int?
    var scanner = LineScanner(body)
    var previousEnd = body.startIndex
    while count < MIMELimits.parts {
      let lineStart = scanner.offset
      guard let line = scanner.next() else { break }
      guard line.starts(with: delimiter) else {
        previousEnd = line.endIndex
        continue
      }
      let rest = line.dropFirst(delimiter.count).trimmed
      let isClosing = rest.starts(with: [0x2D, 0x2D])
      guard rest.isEmpty || isClosing else {
        previousEnd = line.endIndex
        continue
      }
      if let open = start {
        // The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
        parts.append(message(body[open..<max(open, min(previousEnd, lineStart))], depth: depth + 1, defaultType: defaultType))
      }
      start = isClosing ? nil : scanner.offset
      if isClosing { break }
      previousEnd = scanner.offset
    }
    if let open = start, count < MIMELimits.parts {
      parts.append(message(body[open...], depth: depth + 1, defaultType: defaultType))
    }
    return parts
  }

  /// A first `--something` line that a field follows: the boundary that the header does not tell.
  private func shownBoundary(_ body: ArraySlice<UInt8>) -> [UInt8]? {
    var scanner = LineScanner(body)
    var candidate: [UInt8]?
    var seen = 0
    while let line = scanner.next(), seen < 2_000 {
      seen += 1
      if let candidate, let (name, _) = HeaderBlock.fieldName(line), name.hasPrefix("content-") { return candidate }
      candidate = line.starts(with: [0x2D, 0x2D]) && (5...200).contains(line.count) && !line.contains(0x20) ? Array(line) : nil
    }
    return nil
  }
}
