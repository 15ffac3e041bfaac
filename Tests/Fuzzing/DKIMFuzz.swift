import Dispatch
@testable import MailFormat
import MailModel
import Synchronization

/// A stranger's mail with the key that his DNS publishes, the record first, up to a NUL; and mail of ours: what we sign
/// verifies, with any subject and any body, and no longer when an octet was added.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  let end = octets.firstIndex(of: 0) ?? 0
  let record = String(decoding: octets[..<end], as: UTF8.self)
  _ = verdicts(Array(octets[end...].drop { $0 == 0 }), record)
  // A signature in the octets that is whole but for its list: far into the verifier at once.
  let field =
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=a.example; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AA==;"
  for verdict in verdicts(Array(field.utf8) + octets, record) { precondition(verdict.result != .pass, "forged") }

  guard let key = Ours.key else { preconditionFailure("no key") }
  let fields = ["From: a@b.example\r\n", "To: c@d.example\r\n"].map { Array($0.utf8) }
  let subject = HeaderEncoding.unstructured("Subject", String(decoding: octets.prefix(200), as: UTF8.self))
  let message = RenderedMessage(fields: fields + [subject], body: octets)
  guard let signature = (try? DKIMSigner.signatures(of: message, with: [key], now: Ours.now))?.first else {
    preconditionFailure("not signed")
  }
  var mail = signature + fields.joined() + subject + [0x0D, 0x0A] + octets
  precondition(verdicts(mail, key.dnsRecord).map(\.result) == [.pass], "ours does not verify")
  mail.append(0x78)
  precondition(verdicts(mail, key.dnsRecord).map(\.result) == [.fail], "a changed body verifies")
  return 0
}

private enum Ours {
  static let now: Milliseconds = 1_700_000_000_000
  static let key = try? DKIMKey(
    domain: "b.example", selector: "s",
    pem: "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIC3wxYb6LWswKucTHwBlr25V1x/fdyM56p1qpb10qnJH\n-----END PRIVATE KEY-----\n")
}

private func verdicts(_ mail: [UInt8], _ record: String) -> [DKIMVerdict] {
  let box = Box()
  let done = DispatchSemaphore(value: 0)
  Task.detached {
    let verdicts = await DKIMVerifier(mail)?.verdicts(now: Ours.now) { _ in .found(record) } ?? []
    box.value.withLock { $0 = verdicts }
    done.signal()
  }
  done.wait()
  return box.value.withLock { $0 }
}

private final class Box: Sendable {
  let value = Mutex<[DKIMVerdict]>([])
}
