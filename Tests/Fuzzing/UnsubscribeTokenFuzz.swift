import MailFormat
import MailModel

/// Tokens of links and feedback addresses: strangers' prove nothing, ours say again what they were made of.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  let signer = VERPSigner(key: "0123456789abcdef0123456789abcdef", installation: "fuzz")
  precondition(UnsubscribeToken(text, signer: signer) == nil, "forged")
  for local in [text, VERPSigner.complaintPrefix + text] {
    switch signer.verify(complaintLocalPart: local) {
    case .message, .messageID: preconditionFailure("forged")
    case .forged, .notVERP: break
    }
  }
  let part = String(text.prefix(64))
  guard !part.isEmpty else { return 0 }
  let token = UnsubscribeToken(organisation: part, list: "l", address: part + "@a.example", messageID: part)
  let signed = token.signed(by: signer)
  precondition(signed.utf8.count > 2048 || UnsubscribeToken(signed, signer: signer) == token)
  precondition(UnsubscribeToken(signed + "A", signer: signer) != token || signed.utf8.count % 4 != 0)
  let number = MessageNumber(UInt64(size) &* 0x9E37_79B9_7F4A_7C15)
  precondition(signer.verify(complaintLocalPart: VERPSigner.complaintPrefix + signer.complaintToken(number)) == .message(number))
  return 0
}
