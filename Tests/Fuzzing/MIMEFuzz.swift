import MIME

/// Any octets: every node is read, decoded and searched, as the inbound server may do. What comes out is in proportion to what
/// came, so that no mail is larger than it looks.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let mail = MIMEPart.read(Array(UnsafeBufferPointer(start: data, count: size)))
  let outline = mail.outline
  precondition(outline.count <= MIMELimits.parts)
  precondition(outline.reduce(0) { $0 + ($1.parts.isEmpty ? $1.body.count : 0) } <= size, "parts overlap")
  for part in outline {
    let content = part.content(limit: 1 << 20)
    // Quoted-printable makes two octets of a line feed, a character set at most four of one.
    precondition(content.count <= 2 * part.body.count + 2)
    precondition(part.text(limit: 1 << 20).utf8.count <= 4 * content.count + 16)
    _ = part.text(limit: 64 * 1024)
    _ = part.fileName
    _ = part.headers.first("subject")
    _ = HTMLText.read(part.text(limit: 16 * 1024))
  }
  return 0
}
