import DeliveryPolicy

/// TXT records of strangers.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  for record in [text, "v=spf1 " + text] where SPFRecord.isRecord(record) { _ = try? SPFRecord(record) }
  return 0
}
