/// How much room there is on the disk, in Redis and in the queue, and what new mail is told when there is too little. Pure:
/// the gauges' last word, and what was let in since.
struct Pressure: Sendable, Equatable {
  /// What is not to be passed. Octets; 0 = no limit.
  struct Limits: Sendable, Equatable {
    /// `limits.min_free_mib`: kept free on the state directory's disk.
    var minFree = 0
    /// `limits.queue_max_mib`: memory of Redis.
    var queueOctets = 0
    /// `limits.queue_max_messages`.
    var queueMessages = 0
  }

  enum Refusal: Sendable, Equatable, CaseIterable {
    case diskLow, redisFull, queueFull
  }

  /// A message costs more than its octets: record, receipt, places in indexes; on the disk they are written again with each
  /// step of its way.
  private static let memoryOverhead = 2048
  private static let diskOverhead = 6144

  var limits: Limits
  /// Nil = not known: nothing is refused for it.
  private(set) var free: Int?
  private(set) var usedMemory: Int?
  /// Redis's own `maxmemory`; 0 = none.
  private(set) var maxMemory = 0
  private(set) var live: Int?
  /// Let in since the gauges were read.
  private(set) var messages = 0
  private(set) var octets = 0
  /// Let in since then to files of the state directory alone.
  private(set) var fileOctets = 0
  /// What is refused now: it ends only when there is clearly room again, so that intake does not flap.
  private(set) var standing: Set<Refusal> = []

  init(limits: Limits) { self.limits = limits }

  /// The gauges were read; what is nil keeps its last value. What was let in before is in them.
  mutating func measured(free: Int?, usedMemory: Int?, maxMemory: Int?, live: Int?) {
    if let free { self.free = free }
    if let usedMemory { self.usedMemory = usedMemory }
    if let maxMemory { self.maxMemory = maxMemory }
    if let live { self.live = live }
    messages = 0
    octets = 0
    fileOctets = 0
    standing = Set(Refusal.allCases.filter { isOver($0, messages: 0, octets: 0) })
  }

  /// Lets messages in, or says why not.
  mutating func admit(messages count: Int, octets size: Int) -> Refusal? {
    if let refusal = refusal { return refusal }
    if let refusal = Refusal.allCases.first(where: { isOver($0, messages: messages + count, octets: octets + size) }) { return refusal }
    messages += count
    octets += size
    return nil
  }

  /// Lets octets go to a file of the state directory, or says why not.
  mutating func admitFile(octets size: Int) -> Refusal? {
    guard !standing.contains(.diskLow), !isOver(.diskLow, messages: messages, octets: octets, files: fileOctets + size) else {
      return .diskLow
    }
    fileOctets += size
    return nil
  }

  /// The gravest that stands.
  var refusal: Refusal? { Refusal.allCases.first(where: standing.contains) }

  private func isOver(_ refusal: Refusal, messages: Int, octets: Int, files: Int? = nil) -> Bool {
    let isStanding = standing.contains(refusal)
    switch refusal {
    case .diskLow:
      guard limits.minFree > 0, let free else { return false }
      // A file's octets go through its log first.
      let written = octets * 4 + messages * Self.diskOverhead + (files ?? fileOctets) * 2
      return free - written < limits.minFree + (isStanding ? limits.minFree / 32 : 0)
    case .redisFull:
      guard maxMemory > 0, let usedMemory else { return false }
      return usedMemory + added(messages, octets) >= Self.room(maxMemory) - (isStanding ? maxMemory / 64 : 0)
    case .queueFull:
      if limits.queueOctets > 0, let usedMemory,
        usedMemory + added(messages, octets) >= limits.queueOctets - (isStanding ? limits.queueOctets / 64 : 0)
      {
        return true
      }
      // The accepting Function keeps this one exactly; here is only what need not be tried. What was let in since is not counted: as many
      // may have left the queue meanwhile, and nobody is to be told to wait where there is room.
      guard limits.queueMessages > 0, let live else { return false }
      return live >= limits.queueMessages
    }
  }

  private func added(_ messages: Int, _ octets: Int) -> Int { octets * 2 + messages * Self.memoryOverhead }

  /// Intake stops this far below `maxmemory`: plain commands, which Redis refuses when it is full, still work then.
  static func room(_ maxMemory: Int) -> Int { maxMemory - min(64 << 20, max(2 << 20, maxMemory / 16)) }
}
