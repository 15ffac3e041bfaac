import MailFormat
import MailModel

/// Local parts that strangers write to: none of them proves anything.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  let signer = VERPSigner(key: "0123456789abcdef0123456789abcdef", installation: "fuzz")
  for local in [text, VERPSigner.prefix + text, VERPSigner.prefix + signer.token(MessageNumber(7)) + text] {
    switch signer.verify(localPart: local, now: 1_700_000_000_000) {
    case .message(let number): precondition(number == MessageNumber(7), "forged")
    case .messageID: preconditionFailure("forged")
    case .forged, .notVERP: break
    }
  }
  let number = MessageNumber(UInt64(size) &* 0x9E37_79B9_7F4A_7C15)
  let ours = VERPSigner.prefix + signer.token(number)
  precondition(ours.utf8.count <= 64 && signer.verify(localPart: ours.uppercased(), now: 0) == .message(number))
  return 0
}
