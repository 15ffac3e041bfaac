import Redis

/// Heads for a dispatcher that is made after who learns them: pauses hold messages, and the dispatcher asks the pauses.
actor HeadRelay {
  private var dispatcher: Dispatcher?

  func connect(_ dispatcher: Dispatcher) { self.dispatcher = dispatcher }
  func note(_ heads: [QueueHead]) async { await dispatcher?.note(heads) }
}
