import CShims
import MTAConfig

/// How many connections are open at once: so many that descriptors are left for Redis, workers, DNS and files. Whoever comes
/// then waits in the kernel's queue or is told to come later; what was accepted goes on being delivered (DESIGN section 9). That
/// there is always one left is no matter of comfort: libdispatch ends a process that cannot open `/proc/TID/stat`.
struct ConnectionBudget: Equatable {
  /// HTTP connections.
  var api: Int
  /// Sessions of mail that comes back, and of submission; 0 where nobody listens.
  var bounce = 0
  var submission = 0

  /// Without a shortage.
  static let bounceSessions = 1000
  static let submissionSessions = 200

  /// Raises this process's limit of open files as far as it may, and answers what of it is for connections.
  /// - Parameter hasBounce, hasSubmission: also when only a passed socket says so.
  init(_ config: MTAConfig, hasBounce: Bool = false, hasSubmission: Bool = false) {
    self.init(
      openFiles: Int(shim_raise_open_files()), ips: config.sourceIPs.count, hasBounce: hasBounce || !config.bounce.listen.isEmpty,
      hasSubmission: hasSubmission || !config.submission.listen.isEmpty)
  }

  /// A session counts twice: what it receives is in a file. Both services together get half at most.
  init(openFiles: Int, ips: Int, hasBounce: Bool = false, hasSubmission: Bool = false) {
    let room = max(16, openFiles / 4 * 3 - 64 - 8 * ips)
    if hasBounce { bounce = min(Self.bounceSessions, room / 8) }
    if hasSubmission { submission = min(Self.submissionSessions, room / 8) }
    api = room - 2 * (bounce + submission)
  }
}
