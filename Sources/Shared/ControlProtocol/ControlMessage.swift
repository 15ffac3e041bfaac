package import MailModel

/// Raise it with every change of a message below; both ends refuse another version.
package let controlProtocolVersion = 5

/// What a worker needs to sign for one domain, unsealed. Never written to disk or log.
package struct SigningKey: Sendable, Codable, Equatable {
  package var domain: String
  package var selector: String
  package var privateKeyPEM: String

  package init(domain: String, selector: String, privateKeyPEM: String) {
    self.domain = domain
    self.selector = selector
    self.privateKeyPEM = privateKeyPEM
  }
}

/// What a worker has of one entry of its stream when it meets a run of Redis that may have lost its dispatch.
package struct ControlHolding: Sendable, Codable, Equatable {
  package var entryID: String
  package var number: UInt64
  package var serial: Int
  package var stage: HoldingStage

  package init(entryID: String, number: UInt64, serial: Int, stage: HoldingStage) {
    (self.entryID, self.number, self.serial, self.stage) = (entryID, number, serial, stage)
  }
}

/// First frame of both ends.
package struct ControlHello: Sendable, Codable, Equatable {
  package var version: Int
  package var sourceIP: String
  package var pid: Int32

  package init(version: Int, sourceIP: String, pid: Int32) {
    self.version = version
    self.sourceIP = sourceIP
    self.pid = pid
  }
}

/// Supervisor → worker.
package enum ControlOrder: Sendable, Codable, Equatable {
  case hello(ControlHello)
  case status
  case pause
  case resume
  /// Begin no transaction, give back what is not begun, end when the rest is done or after the deadline.
  case drain(deadlineMilliseconds: Int)
  /// Whom to be at Redis. Sent once, right after hello: neither command line nor environment shows it.
  case redis(username: String, password: String)
  /// Answer to ``ControlNotice/needKey(domain:entryID:)``; none when the domain has no key, two when it has one of each algorithm.
  case keys(domain: String, [SigningKey])
  /// The entry for which a key was asked is not in this IP's stream, or is of another domain.
  case keyRefused(domain: String)
  /// The domain's key changed: ask again.
  case forgetKey(domain: String)
  /// Answer to ``ControlNotice/claim(question:runID:_:)``: whether each is the worker's. None when it cannot be said now.
  case claimed(question: Int, [Bool])
  /// Answer to ``ControlNotice/met(question:runID:)``.
  case told(question: Int, isDone: Bool)
}

/// Worker → supervisor.
package enum ControlNotice: Sendable, Codable, Equatable {
  case hello(ControlHello)
  /// Address bound, stream open.
  case ready
  /// The address is not on this host (or the probe bind failed otherwise).
  case unavailable(reason: String)
  case heartbeat(WorkerStatus)
  case status(WorkerStatus)
  /// A key to sign this entry of the IP's stream with.
  case needKey(domain: String, entryID: String)
  /// Whose are these on a run of Redis that the worker meets anew? Before ``met(question:runID:)``, so many at once that a frame holds them.
  case claim(question: Int, runID: String, [ControlHolding])
  /// The worker stands before this run of Redis: its journal is to be told to it.
  case met(question: Int, runID: String)
  case stopping
}

package struct WorkerStatus: Sendable, Codable, Equatable {
  package var queued = 0
  package var transactions = 0
  package var connections = 0
  package var delivered = 0
  package var deferred = 0
  package var bounced = 0
  package var isPaused = false
  package var isDraining = false
  /// Run of Redis to which the journal is known to be told.
  package var redisRunID: String?

  package init() {}
}
