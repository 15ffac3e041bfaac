/// Milliseconds since the Unix epoch: the unit of every time in Redis, the journal, events and the HTTP surface.
package typealias Milliseconds = Int64

/// Gives the present in milliseconds. Policies take `now`; everything else takes one of these.
package typealias WallClock = @Sendable () -> Milliseconds
