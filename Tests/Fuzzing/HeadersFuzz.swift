@testable import MIME
@testable import MailFormat

/// A header that came, and one that we write of the same text: whatever it holds, ours stays one field.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  _ = HeaderBlock.read(octets[...])
  _ = EncodedWords.decode(octets)
  let text = String(decoding: octets, as: UTF8.self)
  _ = HeaderParameters(text)
  for field in [HeaderEncoding.unstructured("Subject", text), HeaderEncoding.mailbox("From", displayName: text, address: "a@b.example")] {
    var previous: UInt8 = 0
    for (index, octet) in field.enumerated() {
      if octet == 0x0A { precondition(previous == 0x0D) }
      // A line end inside is a fold: white space follows.
      if previous == 0x0A { precondition(octet == 0x20 || octet == 0x09 || index == field.count, "a second field") }
      previous = octet
    }
  }
  return 0
}
