import MailModel
import SMTPProtocol

/// What clients submit: a header that is taken has one author, whom no other reading of the field contradicts.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = Array(UnsafeBufferPointer(start: data, count: size))
  check(String(decoding: octets, as: UTF8.self))
  for message in [octets, Array("From: ".utf8) + octets + Array("\r\n\r\nx".utf8)] {
    guard let message = try? SubmittedMessage(message) else { continue }
    precondition(message.authorDomains.first == message.author.address.domain)
    let left = message.complete(id: "id", host: "h.example", now: 0)
    // Ours may be the field too many.
    guard let again = try? SubmittedMessage(left) else { continue }
    precondition(again.authorDomains == message.authorDomains, "what leaves has other authors")
  }
  return 0
}

private func check(_ text: String) {
  guard let mailbox = Mailbox(text) else { return }
  let name = (mailbox.name ?? "").unicodeScalars.map { $0 == "\\" || $0 == "\"" ? "\\\($0)" : "\($0)" }.joined()
  let quoted = "\"\(name)\" <\(mailbox.address)>"
  if quoted.utf8.count <= 998 { precondition(Mailbox(quoted)?.address == mailbox.address) }
  // Less comments and quoted strings there is one @, and nothing that parts addresses.
  var bare: [Unicode.Scalar] = []
  var (isQuoted, depth, isEscaped) = (false, 0, false)
  for scalar in text.unicodeScalars {
    if isEscaped {
      isEscaped = false
    } else if scalar == "\\", isQuoted || depth > 0 {
      isEscaped = true
    } else if scalar == "\"", depth == 0 {
      isQuoted.toggle()
    } else if scalar == "(", !isQuoted {
      depth += 1
    } else if scalar == ")", !isQuoted, depth > 0 {
      depth -= 1
    } else if !isQuoted, depth == 0 {
      bare.append(scalar)
    }
  }
  precondition(bare.filter { $0 == "@" }.count == 1 && !bare.contains { ",:;()\"".unicodeScalars.contains($0) }, "another author")
  precondition(bare.filter { $0 == "<" }.count <= 1)
}
