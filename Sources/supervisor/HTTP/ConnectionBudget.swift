import CShims

/// How many HTTP connections are open at once: so many that descriptors are left for Redis, workers, DNS and files. Whoever
/// comes then waits in the kernel's queue; what was accepted goes on being delivered (DESIGN section 9).
enum ConnectionBudget {
  /// Raises this process's limit of open files as far as it may, and answers what of it is for connections.
  static func connections(ips: Int) -> Int { connections(openFiles: Int(shim_raise_open_files()), ips: ips) }

  static func connections(openFiles: Int, ips: Int) -> Int { max(16, openFiles / 4 * 3 - 64 - 8 * ips) }
}
