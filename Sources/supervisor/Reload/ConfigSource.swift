import Foundation
import MTAConfig

/// The configuration file of this process, with its environment.
struct ConfigSource: Sendable {
  let path: String

  /// A problem of the file as a whole names the file.
  func read() -> ConfigReport {
    var report = ConfigFile.read(path)
    for index in report.problems.indices where report.problems[index].key.isEmpty && report.problems[index].line == nil {
      report.problems[index].text = "\(path) \(report.problems[index].text)"
    }
    return report
  }

  /// A problem that was found after reading, with the line of its key.
  func located(_ problem: ConfigProblem) -> ConfigProblem {
    guard problem.line == nil, !problem.key.isEmpty, let text = try? String(contentsOfFile: path, encoding: .utf8),
      let root = try? ConfigNode.parse(text)
    else { return problem }
    var located = problem
    located.line = root.node(of: problem.key)?.line
    return located
  }

  /// `runtime_dir` of a file whose other parts may be wrong; nil when it cannot be read.
  func runtimeDirectory(_ environment: [String: String]) -> String? {
    if let path = environment[ConfigReader.variable("runtime_dir")] { return path }
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    guard let root = try? ConfigNode.parse(text) else {
      // Not YAML: the line by itself.
      let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("runtime_dir:") }
      let value = line?.dropFirst("runtime_dir:".count).trimmingCharacters(in: CharacterSet(charactersIn: " \t\"'"))
      return value ?? MTAConfig().runtimeDir
    }
    guard case .scalar(let path, _)? = root.node(of: "runtime_dir"), !path.isEmpty else { return MTAConfig().runtimeDir }
    return path
  }
}

extension ConfigNode {
  /// By dotted key; nil when it is not there.
  func node(of key: String) -> ConfigNode? {
    var node = self
    for name in key.split(separator: ".") {
      guard case .map(let pairs, _) = node, let next = pairs.first(where: { $0.key == name })?.value else { return nil }
      node = next
    }
    return node
  }
}
