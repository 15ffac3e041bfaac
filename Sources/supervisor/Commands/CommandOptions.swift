import ArgumentParser
import ControlProtocol
import Foundation
import Glibc
import MTAConfig

/// What every command takes after its words.
struct CommonOptions: ParsableArguments {
  @Option(help: "Configuration file (default: $OWLAT_CONFIG, else /etc/owlat-mta/config.yaml).")
  var config: String?

  @Option(help: "Control socket of the running supervisor (default: the configuration's).")
  var socket: String?

  @Flag(help: "Print one JSON document.")
  var json = false

  var configPath: String {
    config ?? ProcessInfo.processInfo.environment["OWLAT_CONFIG"] ?? "/etc/owlat-mta/config.yaml"
  }

  func report() -> ConfigReport { ConfigFile.read(configPath) }

  func socketPath() throws -> String {
    if let socket { return socket }
    let report = report()
    guard let config = report.config else {
      // A running supervisor can be asked all the same: it may have another file in force.
      if let directory = ConfigSource(path: configPath).runtimeDirectory(ProcessInfo.processInfo.environment) {
        return directory + "/control.sock"
      }
      throw CommandFault(code: 3, text: "\(configPath): \(report.problems.first?.description ?? "not readable"); give --socket")
    }
    return config.runtimeDir + "/control.sock"
  }

  /// Asks the running supervisor; answers its document.
  /// - Parameter bar: drawn while long work goes on.
  func ask(_ command: String, _ arguments: [String: String?] = [:], bar: ProgressBar? = nil) throws -> String {
    let reply: AdminReply
    defer { bar?.clear() }
    do {
      reply = try AdminClient.call(
        AdminRequest(command: command, arguments: arguments.compactMapValues { $0 }), socket: socketPath(), progress: { bar?.show($0) })
    } catch AdminClient.Failure.unreachable(let why) {
      // A faulty file hides where the supervisor listens.
      let problem = socket == nil ? report().problems.first.map { "; \(configPath): \($0)" } ?? "" : ""
      throw CommandFault(code: 3, text: "supervisor not reachable: \(why)\(problem)")
    }
    if let fault = reply.fault { throw CommandFault(code: 1, text: fault) }
    return reply.document ?? "null"
  }
}

/// One line on standard error and an exit code: 1 refused or not found, 2 wrong usage, 3 supervisor not reachable.
struct CommandFault: Error {
  var code: Int32
  var text: String

  func leave() -> Never {
    FileHandle.standardError.write(Data((text + "\n").utf8))
    Glibc.exit(code)
  }
}

/// Runs a command's body; faults leave as they should.
func withFaults(_ body: () throws -> Void) {
  do { try body() } catch let fault as CommandFault { fault.leave() } catch {
    CommandFault(code: 1, text: "\(error)").leave()
  }
}

/// Reads the configuration with this process's environment.
enum ConfigFile {
  static func read(_ path: String) -> ConfigReport {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      return ConfigReport(config: nil, problems: [ConfigProblem(key: "", line: nil, text: "cannot be read")], notices: [])
    }
    return MTAConfig.read(
      yaml: text, environment: ProcessInfo.processInfo.environment, hostName: hostName(),
      readFile: { try? String(contentsOfFile: $0, encoding: .utf8) })
  }

  /// The host's FQDN when it has one.
  static func hostName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    let short = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var hints = addrinfo()
    hints.ai_flags = AI_CANONNAME
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(short, nil, &hints, &found) == 0, let found else { return short }
    defer { freeaddrinfo(found) }
    let canonical = found.pointee.ai_canonname.map { String(cString: $0) } ?? short
    return canonical.isEmpty ? short : canonical
  }
}

/// Tables for people.
enum Table {
  static func print(_ header: [String], _ rows: [[String]]) {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    for row in all {
      let line = zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ")
      Swift.print(line.replacing(#/\s+$/#, with: ""))
    }
  }

  /// Rows of a JSON list of objects, by key; nested and absent values as short text.
  static func print(json: String, _ columns: [(title: String, key: String)]) {
    let value = try? JSONSerialization.jsonObject(with: Data(json.utf8))
    let objects = (value as? [[String: Any]]) ?? (value as? [String: Any]).map { [$0] } ?? []
    print(columns.map(\.title), objects.map { object in columns.map { text(object[$0.key]) } })
  }

  /// What others wrote, without what a terminal would obey.
  static func shown(_ text: String) -> String {
    text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
      ? text.unicodeScalars.map { $0.properties.generalCategory == .control ? "\\u{\(String($0.value, radix: 16))}" : String($0) }.joined()
      : text
  }

  static func text(_ value: Any?) -> String {
    switch value {
    case nil, is NSNull: "-"
    case let text as String: shown(text)
    case let list as [[String: Any]]:
      list.isEmpty ? "-" : list.map { "\(text($0["reason"])) (\(text($0["key"])), until \(text($0["until"])))" }.joined(separator: "; ")
    case let list as [Any]: list.map { text($0) }.joined(separator: " ")
    case let some?: "\(some)"
    }
  }
}
