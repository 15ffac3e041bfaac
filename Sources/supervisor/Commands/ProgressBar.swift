import Foundation
import Glibc

/// How far long work has come, on standard error and only when that is a terminal: `[#######             ]  17,500 of 50,000`.
struct ProgressBar {
  static let width = 30
  let total: Int

  func show(_ done: Int) {
    guard isatty(STDERR_FILENO) == 1, total > 0 else { return }
    FileHandle.standardError.write(Data(("\r" + line(done)).utf8))
  }

  func line(_ done: Int) -> String {
    let share = min(1, Double(done) / Double(max(total, 1)))
    let filled = Int(share * Double(Self.width))
    return "[" + String(repeating: "#", count: filled) + String(repeating: " ", count: Self.width - filled) + "] \(done) of \(total)"
  }

  /// Leaves the line empty for what is printed next.
  func clear() {
    guard isatty(STDERR_FILENO) == 1, total > 0 else { return }
    FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
  }
}
