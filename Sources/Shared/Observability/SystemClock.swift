internal import CShims

/// The host's clocks. Everything that is not pure policy is given one of these.
package enum SystemClock {
  /// Milliseconds since the Unix epoch, for everything that waits: like ``wall()`` while the system's clock runs evenly. When
  /// that is set by more than two seconds, this goes on evenly and drifts to it by 1 in 20, so that retries, gates and
  /// deadlines neither all fire nor stand still; a clock that was wrong by a day or more is followed at once.
  @Sendable package static func now() -> Int64 { shim_now_ms() }
  /// The system's clock as it is: for what others compare with theirs, as signatures.
  @Sendable package static func wall() -> Int64 { shim_wall_ms() }
  /// What a child process is given as `OWLAT_CLOCK_BASE`, so that its ``now()`` is ours.
  package static func base() -> Int64 { shim_clock_base() }
  /// Never jumps; for measuring.
  @Sendable package static func monotonic() -> Int64 { shim_monotonic_ms() }
}
