internal import SMTPProtocol

/// Content as it comes in: kept while it may still be accepted, only counted once it will be refused.
struct IncomingContent {
  private(set) var reader = MailContentReader()
  private(set) var spool: MailSpool?
  private(set) var received = 0
  private let maxSize: Int

  init(spool: MailSpool, maxSize: Int) {
    self.spool = spool
    self.maxSize = maxSize
  }

  var hasBareLineEnd: Bool { reader.hasBareLineEnd }
  var isTooLarge: Bool { received > maxSize }

  /// - Returns: octets up to the end of the content, that included; nil when it is not there yet.
  mutating func feed(_ octets: UnsafeRawBufferPointer) -> Int? {
    var reader = reader
    let consumed = reader.feed(octets) { piece in take(piece) }
    self.reader = reader
    return consumed
  }

  private mutating func take(_ piece: UnsafeRawBufferPointer) {
    received += piece.count
    guard let spool else { return }
    guard !isTooLarge, !reader.hasBareLineEnd else {
      // Refused anyhow: what there is of it need not be kept.
      self.spool = nil
      return
    }
    // Without room there is nothing to finish.
    do { try spool.append(piece) } catch { self.spool = nil }
  }

  /// Nil when there was no room for all of it.
  func finish() -> MailContent? { try? spool?.finish() }
}
