@testable import MailFormat
import MailModel

/// A shared text and one recipient's value, at the first line feed apart: nothing is left to fill, and a value is never looked
/// through.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  let parts = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
  var content = MessageContent(authorName: nil, authorAddress: "a@b.example", subject: String(parts[0]))
  content.html = text
  content.text = text
  content.headers = [HeaderField(name: "X-Note", value: String(parts[0]))]
  let names = Template.names(of: content)
  precondition(names.inHeaders.isSubset(of: names.all))
  let value = parts.count > 1 ? String(parts[1]) : ""
  let values = names.all.map { MessageRecord.TemplateValue(name: $0, value: value) }
  let filled = Template.fill(content, values)
  if names.all.isEmpty { precondition(filled.subject == content.subject && filled.html == content.html) }
  precondition(Template.fillHeaders(content, values).first?.value == filled.subject)
  return 0
}
