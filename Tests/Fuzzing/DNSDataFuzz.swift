import DNS
import DeliveryPolicy

/// What strangers put into DNS: record data in wire form, and a DMARC policy as text.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  if let name = DNSRecordData.name(octets) { precondition(name.utf8.count <= 3 * size) }
  if let mx = DNSRecordData.mx(octets) { precondition((0...0xFFFF).contains(mx.preference)) }
  _ = DNSRecordData.address(octets)
  if let text = DNSRecordData.text(octets) { precondition(text.utf8.count <= 3 * size) }
  let text = String(decoding: octets, as: UTF8.self)
  for record in [text, "v=DMARC1;p=reject;" + text] {
    guard let policy = DMARCPolicy(record) else { continue }
    // Nobody vouches: no pass, whatever the policy says.
    precondition(policy.result(author: "a.example", spf: nil, dkim: []) == .fail)
    precondition(policy.result(author: "a.example", spf: "a.example", dkim: []) == .pass)
  }
  for name in DMARCPolicy.names(of: text) { precondition(name.utf8.starts(with: "_dmarc.".utf8)) }
  return 0
}
