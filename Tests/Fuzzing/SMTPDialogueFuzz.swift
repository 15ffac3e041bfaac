import SMTPProtocol

/// Any octets of a client: every line is answered, content ends where it must, and what content came out is the same when it
/// is cut into other pieces.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  var octets = Array(UnsafeBufferPointer(start: data, count: size))
  var policy = SMTPServerPolicy(hostName: "mx.example", banner: "mx.example")
  policy.offersTLS = true
  policy.requiresAuthentication = octets.first == 0x41
  policy.parameters = ["XOWLATID"]
  var session = SMTPServerSession(policy)
  while true {
    guard case .line(let length) = octets.withUnsafeBytes({ CommandLine.find(in: $0, scanned: 0, limit: 4096) }) else { return 0 }
    let line = Array(octets[..<length])
    octets.removeFirst(length + 2)
    var step = session.receive(line)
    while true {
      switch step {
      case .askSender: step = session.senderAnswered(nil)
      case .askRecipient: step = session.recipientAnswered(nil)
      case .authenticate: step = session.authenticated(nil)
      default: break
      }
      if case .askRecipient = step { continue }
      break
    }
    switch step {
    case .replyAndClose: return 0
    case .startTLS: session.tlsEstablished("TLSv1.3")
    case .beginContent:
      guard let end = content(octets) else { return 0 }
      octets.removeFirst(end)
      _ = session.contentEnded()
    default: break
    }
  }
}

/// - Returns: octets up to and with the end.
private func content(_ octets: [UInt8]) -> Int? {
  var whole = MailContentReader()
  var output: [UInt8] = []
  let end = octets.withUnsafeBytes { whole.feed($0) { output += $0 } }
  var pieces = MailContentReader()
  var again: [UInt8] = []
  var endAgain: Int?
  for index in octets.indices {
    if octets[index...index].withUnsafeBytes({ pieces.feed($0) { again += $0 } }) != nil {
      endAgain = index + 1
      break
    }
  }
  precondition(end == endAgain && whole.hasBareLineEnd == pieces.hasBareLineEnd)
  if end != nil, !whole.hasBareLineEnd {
    precondition(output == again)
    // Lines end in CRLF alone, and stuffed again it is what came.
    precondition(output.isEmpty || output.suffix(2) == [0x0D, 0x0A])
  }
  return end
}
