/// Operator behind many domains, found by MX suffix. The first four and `other` are upstream's profiles (contract section 4);
/// the rest are further large ones, each a lane of its own.
package enum MailboxProvider: String, Sendable, CaseIterable, Codable {
  case gmail, microsoft, yahoo, apple
  case yahooJapan = "yahoo_japan"
  case comcast, gmx, orange, laposte, mimecast, barracuda, proofpoint, kpn, netvigator, qq, netease, godaddy, cox, spectrum
  case other

  /// The name in events, whose schema knows upstream's five only (contract section 2.3).
  package var eventName: String {
    switch self {
    case .gmail, .microsoft, .yahoo, .apple: rawValue
    default: Self.other.rawValue
    }
  }
}
