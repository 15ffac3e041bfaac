/// How far a worker has come with a message that it holds.
package enum HoldingStage: Int, Sendable, Codable {
  /// It has not begun.
  case waiting
  /// It has, and may still be kept from its final dot.
  case underWay
  /// The dot is in the journal, and may be on its way.
  case atDot
}
