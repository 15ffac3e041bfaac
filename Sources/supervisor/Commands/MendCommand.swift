import ArgumentParser

/// What the embedded Redis gets from its keeper, for a Redis that systemd keeps.
struct MendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mend-aof", abstract: "Cut half a step off a Redis's append-only file, before that Redis starts.",
    discussion: """
      Redis 7 that was killed while it wrote leaves it there, and does it after all at its next start but one. Never call this \
      while the Redis runs.

      Example: ExecStartPre=/usr/bin/owlat-mta mend-aof /var/lib/redis/appendonlydir
      """)
  @Argument(help: "Its `appendonlydir`.") var directory: String

  func run() {
    withFaults {
      do {
        guard let (path, octets) = try AppendOnlyFile.mend(directory) else { return }
        print("\(path): half a step was cut off, \(octets) octets")
      } catch let failure as AppendOnlyFile.Failure { throw CommandFault(code: 1, text: "\(failure)") }
    }
  }
}
