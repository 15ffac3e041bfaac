import CShims
import ControlProtocol
import Glibc
import Logging
import MTAConfig
import Observability
import Redis

/// Whether the worker lives, and whether it spins.
extension WorkerLife {
  /// A life sign every second. One missed by a worker that is busy all the same: the lowest priority until the next one, so
  /// that it takes next to nothing from the others. None for 6.5 s end it: SIGABRT for a trace, then SIGKILL.
  func watchHeart(of process: ChildProcess) async {
    var isDeprioritised = false
    var isTold = false
    var watchedBeat = lastBeat
    var spentBefore = ProcessorTime.spent(by: process.pid) ?? 0
    while !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(500))
      guard !Task.isCancelled else { return }
      if hasLostRedis() {
        settings.log.error("worker has not met the supervisor's Redis: ended", metadata: [LogKey.sourceIP: "\(ip.address)"])
        process.send(signal: SIGKILL)
        return
      }
      let silence = SystemClock.monotonic() - lastBeat
      if lastBeat != watchedBeat {
        watchedBeat = lastBeat
        spentBefore = ProcessorTime.spent(by: process.pid) ?? 0
        // It was busy, not lost.
        if isDeprioritised { isDeprioritised = !giveBackPriority(of: process, isTold: &isTold) }
      } else if silence > Self.patience, !isDeprioritised,
        let spent = ProcessorTime.spent(by: process.pid), Double(spent - spentBefore) > Self.spinningShare * Double(silence)
      {
        isDeprioritised = true
        let threads = shim_set_nice(process.pid, 19)
        settings.log.warning(
          "worker spins: its priority is lowered", metadata: [LogKey.sourceIP: "\(ip.address)", "threads": "\(threads)"])
      }
      guard silence > Self.heartbeatLimit else { continue }
      settings.log.error("worker gives no life sign", metadata: [LogKey.sourceIP: "\(ip.address)"])
      process.send(signal: SIGABRT)
      process.send(signal: SIGCONT)
      isCutOff = true
      try? await Task.sleep(for: .seconds(2))
      process.send(signal: SIGKILL)
      return
    }
  }

  /// It gives life signs and does not meet the run of Redis that we are at, or says so and has not asked us to tell its journal there: nothing
  /// may go out until it has.
  private func hasLostRedis() -> Bool {
    guard telling == nil, let run = settings.store.client.session?.runID, toldRun != run || status?.redisRunID != run else {
      apartSince = nil
      return false
    }
    let now = SystemClock.monotonic()
    let since = apartSince ?? now
    apartSince = since
    return now - since > Self.meetingLimit
  }

  /// - Parameter isTold: the log knows already that it cannot be.
  private func giveBackPriority(of process: ChildProcess, isTold: inout Bool) -> Bool {
    if shim_set_nice(process.pid, Int32(SHIM_WORKER_NICE)) > 0 { return true }
    if !isTold {
      settings.log.warning(
        "worker keeps the lowest priority: the system lets none be raised (LimitNICE)", metadata: [LogKey.sourceIP: "\(ip.address)"])
    }
    isTold = true
    return false
  }
}
