package import DeliveryPolicy
package import MailModel

/// What a run came to, day by day. Equal runs make equal reports.
package struct SimulationReport: Sendable, Equatable {
  /// Why mail that is there does not leave: the words of `queue explain`.
  package enum Gate: String, Sendable, CaseIterable {
    case warmingCap = "warming_cap"
    case providerCap = "provider_warming_cap"
    case pacing = "warming_pacing"
    case throttle
    case response = "smtp_response"
    case connection = "connection_backoff"
    case breaker
    /// Waits for its own retry.
    case deferred
  }

  /// Why an attempt was deferred.
  package enum Cause: String, Sendable, CaseIterable {
    case rateLimited = "rate_limited"
    case greylisted
    case mailboxFull = "mailbox_full"
    /// Blocked, and given to another IP.
    case blocked = "ip_reputation"
    case unreachable = "network"
  }

  package enum Class: Int, Sendable, CaseIterable {
    case transactional, campaign
  }

  /// One IP at one provider on one day.
  package struct Cell: Sendable, Equatable {
    /// Messages that an IP took up. Caps count them less the deferred ones, which did not go.
    package var attempts = 0
    package var delivered = 0
    package var bounced = 0
    package var deferred = 0
    /// In force that day; nil = none beside the IP's.
    package var cap: Int?

    /// What the cap counts.
    package var counted: Int { attempts - deferred }
  }

  package struct IPDay: Sendable, Equatable {
    package var phase: IPWarming.Phase
    package var warmingDay: Int
    package var attempts = 0
    /// What the campaign ceiling counts: without the deferred ones.
    package var campaignAttempts = 0
    package var delivered = 0
    package var cap: Int?
    package var campaignCeiling: Int?
    /// By provider, as in ``SimulationReport/providers``.
    package var cells: [Cell]

    /// What the cap counts.
    package var counted: Int { cells.reduce(0) { $0 + $1.counted } }
  }

  package struct Day: Sendable, Equatable {
    /// 1 is the first.
    package var number: Int
    package var arrived = 0
    package var delivered = 0
    package var bounced = 0
    package var expired = 0
    /// Attempts by cause, in the order of ``Cause``.
    package var deferrals = [Int](repeating: 0, count: Cause.allCases.count)
    /// Messages there at the day's end by what held them, in the order of ``Gate``.
    package var held = [Int](repeating: 0, count: Gate.allCases.count)
    package var ips: [IPDay]

    package var deferred: Int { deferrals.reduce(0, +) }
    package var left: Int { held.reduce(0, +) }
  }

  package struct Event: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
      case warming(ip: Int)
      /// 0 sends the transactional mail.
      case breaker(organisation: Int)
    }

    /// Since the start.
    package var at: Milliseconds
    package var kind: Kind
    package var text: String
  }

  package var seed: UInt64
  package var messages: Int
  package var ips: [String]
  package var providers: [MailboxProvider]
  package var days: [Day] = []
  /// What a log would show: halts, completions, breakers of organisations.
  package var events: [Event] = []
  /// How often a lane stopped with mail of a class before it, by class and ``Gate``.
  package var stops = [[Int]](repeating: [Int](repeating: 0, count: Gate.allCases.count), count: Class.allCases.count)
  /// From arrival to the first attempt, by class.
  package var longestWait = [Milliseconds](repeating: 0, count: Class.allCases.count)
  /// When the last campaign message was tried for the first time (a transactional one when there is no campaign), and when the
  /// last retry had ended too, since the start; nil = not within the days.
  package var clearedAt: Milliseconds?
  package var doneAt: Milliseconds?
  /// Messages that waited longer than the greatest age before anybody tried them: a real queue would have expired them.
  package var late = 0

  package var delivered: Int { days.reduce(0) { $0 + $1.delivered } }
  package var bounced: Int { days.reduce(0) { $0 + $1.bounced } }
  package var expired: Int { days.reduce(0) { $0 + $1.expired } }
  package var left: Int { days.last?.left ?? 0 }

  package func stops(_ kind: Class, _ gate: Gate) -> Int { stops[kind.rawValue][gate.index] }
}

extension SimulationReport.Gate {
  package var index: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

extension SimulationReport.Cause {
  package var index: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
