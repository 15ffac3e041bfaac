import Foundation
import Glibc

/// What a process has spent on processors.
enum ProcessorTime {
  /// User and system time of all its threads, ms; nil when it is gone.
  static func spent(by pid: Int32) -> Int64? {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let close = stat.lastIndex(of: ")") else {
      return nil
    }
    // After the name: state is field 3, user and system time are fields 14 and 15 (proc(5)).
    let fields = stat[stat.index(after: close)...].split(separator: " ")
    guard fields.count > 12, let user = Int64(fields[11]), let system = Int64(fields[12]) else { return nil }
    return (user + system) * 1000 / max(1, Int64(sysconf(Int32(_SC_CLK_TCK))))
  }
}
