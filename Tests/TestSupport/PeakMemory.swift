import Foundation

/// The most memory that this process had resident while something ran (proc(5)). Tests beside it count too.
package enum PeakMemory {
  /// - Returns: what `body` gave, and the KiB at the peak beyond what was resident before.
  package static func during<Value>(_ body: () throws -> Value) throws -> (value: Value, kibibytes: Int) {
    // What was freed goes back first, or it would hide what is taken next. glibc's, which its module for Swift leaves out.
    if let trim = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(trim, to: (@convention(c) (Int) -> CInt).self)(0) }
    // 5 sets the peak to what is resident now.
    try Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
    let before = figure("VmRSS")
    let value = try body()
    return (value, figure("VmHWM") - before)
  }

  private static func figure(_ name: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
  }
}
