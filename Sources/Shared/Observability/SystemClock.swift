internal import CShims

/// The host's clocks. Everything that is not pure policy is given one of these.
package enum SystemClock {
  /// Wall clock, milliseconds since the Unix epoch.
  @Sendable package static func now() -> Int64 { shim_now_ms() }
  /// Never jumps; for measuring.
  @Sendable package static func monotonic() -> Int64 { shim_monotonic_ms() }
}
