/// What a mail from a stranger may cost. Beyond a limit the rest is left out, never refused: a bounce with a huge returned
/// message is still a bounce.
package enum MIMELimits {
  /// Levels of multipart and message/rfc822 below the mail itself.
  package static let depth = 12
  /// Parts of the whole mail.
  package static let parts = 256
  /// Fields and octets of one header block.
  package static let fields = 1_000
  package static let headerOctets = 256 * 1024
  /// Octets of one field that are decoded.
  package static let fieldOctets = 16 * 1024
  /// Decoded octets of one embedded message that came in base64 or quoted-printable.
  package static let embeddedOctets = 4 * 1024 * 1024
}
