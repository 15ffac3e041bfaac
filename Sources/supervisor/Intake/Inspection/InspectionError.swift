enum InspectionError: Error, Equatable, CustomStringConvertible {
  case timeOut
  case closed
  case answerTooLong
  /// An answer that is none.
  case unreadable(String)

  var description: String {
    switch self {
    case .timeOut: "no answer in time"
    case .closed: "the connection was closed without an answer"
    case .answerTooLong: "the answer is too long"
    case .unreadable(let text): text
    }
  }
}
