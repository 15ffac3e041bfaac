import MailModel

/// Addresses, names, IPs and group keys: what is taken is safe in a command and is spelt one way.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  if let address = EmailAddress(text) {
    precondition(!address.description.unicodeScalars.contains { $0.value < 0x21 || "<>\"\u{7F}".unicodeScalars.contains($0) })
    precondition(EmailAddress(address.description) == address)
  }
  if let name = DomainName.ascii(text) { precondition(DomainName.ascii(name) == name) }
  if let ip = IPAddress.canonical(text) {
    precondition(IPAddress.canonical(ip) == ip)
    _ = IPAddress.isLoopback(ip)
  }
  if let set = IPSet(text) { precondition(IPSet(set.description) == set) }
  if let part = GroupPart(text) { precondition(GroupPart(part.description) == part) }
  if let number = MessageNumber(text) { precondition(MessageNumber(number.description) == number) }
  return 0
}
