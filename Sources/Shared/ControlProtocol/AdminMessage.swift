/// A command of an operator, on its way to the running supervisor over `control.sock`.
package struct AdminRequest: Sendable, Codable, Equatable {
  /// Words as typed, like `ip pull`.
  package var command: String
  package var arguments: [String: String]

  package init(command: String, arguments: [String: String] = [:]) {
    self.command = command
    self.arguments = arguments
  }
}

/// The last frame of an answer has a document or a fault; those before it tell how far long work has come.
package struct AdminReply: Sendable, Codable, Equatable {
  /// Messages, rows or whatever the command counts, done so far.
  package var progress: Int?
  /// One JSON document; nil when the command was refused.
  package var document: String?
  package var fault: String?

  package init(document: String) { self.document = document }
  package init(fault: String) { self.fault = fault }
  package init(progress: Int) { self.progress = progress }
}
