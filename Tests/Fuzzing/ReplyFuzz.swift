import MailModel
import SMTPProtocol

/// What a server says, cut anywhere: whole replies, their enhanced codes, and what an EHLO reply offers.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let octets = UnsafeBufferPointer(start: data, count: size)
  var whole = SMTPReplyParser()
  var parts = SMTPReplyParser()
  var (first, second): ([SMTPReply], [SMTPReply]) = ([], [])
  try? whole.feed(octets) { first.append($0) }
  try? parts.feed(octets.prefix(size / 2)) { second.append($0) }
  for reply in first {
    _ = (reply.enhanced, reply.text, SMTPCapabilities(ehlo: reply))
    precondition((200...599).contains(reply.code))
  }
  precondition(second.count <= first.count)
  return 0
}
