import MIME

/// The mailto form of List-Unsubscribe (RFC 2369 §3.2): the subject is the link's token.
enum UnsubscribeMail {
  /// The longest word of the subject; clients put their own words before it.
  static func token(_ octets: [UInt8]) -> String? {
    let subject = MIMEPart.read(octets).headers.first("subject") ?? ""
    return subject.split(whereSeparator: { $0.isWhitespace }).max { $0.utf8.count < $1.utf8.count }.map(String.init)
  }
}
