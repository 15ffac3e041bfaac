import MIME

/// Any octets: every node is read, decoded and searched, as the inbound server may do.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let mail = MIMEPart.read(Array(UnsafeBufferPointer(start: data, count: size)))
  for part in mail.outline {
    _ = part.text(limit: 64 * 1024)
    _ = part.fileName
    _ = part.headers.first("subject")
    _ = HTMLText.read(part.text(limit: 16 * 1024))
  }
  return 0
}
