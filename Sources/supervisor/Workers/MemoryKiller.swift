import Foundation

/// What the kernel's out-of-memory killer has done on this host.
enum MemoryKiller {
  /// Processes ended since the host booted; nil where `/proc/vmstat` does not tell.
  static func count() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/vmstat", encoding: .utf8) else { return nil }
    return count(in: text)
  }

  static func count(in text: String) -> Int? {
    let name = "oom_kill "
    return text.split(separator: "\n").first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) }
  }
}
