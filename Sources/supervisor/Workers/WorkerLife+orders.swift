import ControlProtocol
import Glibc
import MTAConfig
import Observability

/// What operators, policies and a reload order.
extension WorkerLife {
  func forgetKey(domain: String) { control?.send(.forgetKey(domain: domain)) }

  /// Gate shut, drained, stopped; answers at once, `state` tells the rest.
  func pull(reason: String) async {
    wanted = false
    isRestarting = false
    emptyingSince = nil
    await settings.gate(ip.address, false)
    if process == nil {
      enter(.pulled, reason)
    } else {
      enter(.draining, reason)
      orderDrain(milliseconds: 30_000)
    }
  }

  func restore() {
    wanted = true
    emptyingSince = nil
    hasCrashLooped = false
    ends = []
    unavailable = nil
    if state == .pulled { enter(.provisioned, nil) }
  }

  /// Takes no more mail, sends what it holds, and is pulled then, after ten minutes at the latest.
  func empty(reason: String) async {
    guard process != nil, wanted else { return await pull(reason: reason) }
    emptyingSince = SystemClock.monotonic()
    idleBeats = 0
    enter(.draining, reason)
    await settings.gate(address, false)
  }

  func endWhenEmpty(_ status: WorkerStatus) async {
    guard let since = emptyingSince else { return }
    // What was on its way when the gate was shut is there by the second look.
    idleBeats = status.queued == 0 && status.transactions == 0 ? idleBeats + 1 : 0
    if idleBeats >= 2 || SystemClock.monotonic() - since > 600_000 { await pull(reason: reason ?? "operator") }
  }

  /// The worker ends as when it is pulled, and another starts at once. False when none runs.
  func restart() async -> Bool {
    guard wanted, process != nil, emptyingSince == nil else { return false }
    isRestarting = true
    enter(.draining, "restart")
    await settings.gate(address, false)
    orderDrain(milliseconds: 30_000)
    return true
  }

  /// Other settings of the same address; another EHLO name takes another worker.
  func become(_ ip: MTAConfig.SourceIP) async {
    let isRenamed = ip.ehloName != self.ip.ehloName
    self.ip = ip
    if isRenamed { _ = await restart() }
  }

  func orderDrain(milliseconds: Int) {
    control?.send(.drain(deadlineMilliseconds: milliseconds))
    guard let process else { return }
    Task {
      try? await Task.sleep(for: .milliseconds(milliseconds + 2000))
      guard self.process === process else { return }
      self.isCutOff = true
      process.send(signal: SIGKILL)
    }
  }

  /// Sleeps, unless ``restore()`` ends it.
  func sleep(_ milliseconds: Int64) async {
    let deadline = SystemClock.monotonic() + milliseconds
    let before = wanted
    while SystemClock.monotonic() < deadline, !Task.isCancelled, wanted == before || !wanted {
      try? await Task.sleep(for: .milliseconds(min(50, milliseconds)))
    }
  }
}
