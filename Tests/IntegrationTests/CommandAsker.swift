import Foundation
import TestSupport
import Testing

/// A command asked with `--json`: one document of its shape, nothing on standard error.
final class CommandAsker {
  private let config: String
  private(set) var asked: Set<String> = []
  /// What is wrong is told once, however often a test asks.
  private var told: Set<String> = []

  init(config: String) { self.config = config }

  @discardableResult
  func ask(_ command: String, _ words: String..., code: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation) throws -> JSONValue {
    let parts = command.split(separator: " ").map(String.init)
    let common = ["classify", "simulate", "feedback parse"].contains(command) ? ["--json"] : ["--json", "--config", config]
    let result = try run(MTAFixture.binaries + "/supervisor", parts + words + common)
    #expect(result.code == code, "\(command): \(result.errors)", sourceLocation: sourceLocation)
    #expect(code != 0 || result.errors.isEmpty, "\(command): \(result.errors)", sourceLocation: sourceLocation)
    let document = try JSONValue(result.output)
    let faults = CommandShapes.all[command].map { $0.faults(in: document) } ?? ["no shape is written down"]
    if !faults.isEmpty, told.insert(command).inserted {
      #expect(faults.isEmpty, "\(command) \(words.joined(separator: " "))", sourceLocation: sourceLocation)
    }
    asked.insert(command)
    return document
  }
}

/// A command as the program describes itself.
struct CommandDescription: Decodable {
  struct Argument: Decodable {
    struct Name: Decodable { var name: String }
    var names: [Name]?
  }

  var commandName: String
  var abstract: String?
  var discussion: String?
  var arguments: [Argument]?
  var subcommands: [CommandDescription]?
  var shouldDisplay: Bool?

  /// Every command that does something, by its words.
  static func all() throws -> [(words: String, command: CommandDescription)] {
    struct Dump: Decodable { var command: CommandDescription }
    let output = try run(MTAFixture.binaries + "/supervisor", ["--experimental-dump-help"]).output
    return try JSONDecoder().decode(Dump.self, from: Data(output.utf8)).command.leaves([])
  }

  private func leaves(_ words: [String]) -> [(words: String, command: CommandDescription)] {
    let below = (subcommands ?? []).filter { $0.commandName != "help" && $0.shouldDisplay != false }
    if below.isEmpty { return [(words.joined(separator: " "), self)] }
    return below.flatMap { $0.leaves(words + [$0.commandName]) }
  }

  var hasJSON: Bool { (arguments ?? []).contains { ($0.names ?? []).contains { $0.name == "json" } } }
}
