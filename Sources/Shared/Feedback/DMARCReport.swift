internal import MIME

/// DMARC aggregate reports (RFC 7489 §7.2.1.1): told by the attachment's name and type, and the subject.
enum DMARCReport {
  static func isAggregate(_ mail: MIMEPart) -> Bool {
    let subject = ASCIIText(mail.headers.first("subject") ?? "")
    let hasSubject = subject.contains("report domain:") && subject.contains("submitter") || subject.contains("report-id:")
    let archives = [
      "application/gzip", "application/zip", "application/x-gzip", "application/x-zip-compressed", "application/xml", "text/xml",
      "application/octet-stream",
    ]
    for part in mail.outline where archives.contains(part.type) {
      let name = (part.fileName ?? "").lowercased()
      let hasSuffix = [".xml", ".xml.gz", ".zip", ".gz"].contains(where: name.hasSuffix)
      if hasSubject || hasSuffix && name.filter({ $0 == "!" }).count >= 2 { return true }
    }
    return false
  }
}
