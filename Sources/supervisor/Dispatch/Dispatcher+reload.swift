import DeliveryPolicy
import MailModel
import Observability

/// What may change while mail flows: pools, limits, policies.
extension Dispatcher {
  /// Other pools or other IPs in them. An IP that came takes part in the wait for journals once its worker was ready: there is
  /// nothing of it that Redis could have lost before.
  func setPools(_ pools: [String: [String]]) {
    for ip in index.setPools(pools) {
      allIPs.remove(ip)
      departedIPs.insert(ip)
      warming.forget(ip)
    }
    signal.fire()
  }

  func setPolicies(breaker: BreakerPolicy, warming policy: WarmingPolicy) {
    probes = breaker.probes
    if policy != warming.policy {
      warming.policy = policy
      // Computed anew before the next pick.
      allowanceDay = nil
      for ip in warming.states.keys { index.openWarmingGates(of: ip) }
    }
    signal.fire()
  }

  /// The limits of those that have none of their own are others.
  func limitsChanged() {
    for organisation in Array(index.organisationGates.keys) { index.open(organisation: organisation, .orgLimit) }
    signal.fire()
  }

  /// Messages in the hands of these IPs' workers.
  func atWorkers(of ips: Set<String>) -> [MessageNumber] { out.filter { ips.contains($0.value.ip) }.map(\.key) }
}
