import MTAConfig

/// What came of a reload.
struct ReloadReport: Encodable, Sendable {
  struct Item: Encodable, Sendable {
    var key: String
    var line: Int?
    var text: String

    init(_ problem: ConfigProblem) {
      key = problem.key
      line = problem.line
      text = problem.text
    }

    var description: String { ConfigProblem(key: key, line: line, text: text).description }
  }

  var applied: Bool
  /// One line for each thing that is other than before.
  var changes: [String]
  /// Why the old configuration stays in force.
  var problems: [Item]
  var notices: [Item]

  init(changes: [String], notices: [ConfigProblem]) {
    applied = true
    self.changes = changes
    problems = []
    self.notices = notices.map(Item.init)
  }

  init(problems: [ConfigProblem]) {
    applied = false
    changes = []
    self.problems = problems.map(Item.init)
    notices = []
  }
}
