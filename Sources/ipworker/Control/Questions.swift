import ControlProtocol

/// What the supervisor was asked and has not answered.
struct Questions {
  private var waiting: [Int: CheckedContinuation<ControlOrder?, Never>] = [:]
  private var last = 0
  /// The supervisor is gone: nothing is answered any more.
  private(set) var isClosed = false

  mutating func next() -> Int {
    last += 1
    return last
  }

  mutating func wait(for question: Int, _ continuation: CheckedContinuation<ControlOrder?, Never>) { waiting[question] = continuation }

  /// - Parameter answer: nil = there will be none.
  mutating func answer(_ question: Int, _ answer: ControlOrder?) { waiting.removeValue(forKey: question)?.resume(returning: answer) }

  mutating func close() {
    isClosed = true
    for question in waiting.keys { answer(question, nil) }
  }
}
