import CShims
@preconcurrency import Dispatch
import Glibc
import Logging
import MTAConfig
import MailModel
import Observability

/// Sees addresses come and go on this host: an IP whose address goes is pulled at once, and comes back with it. The kernel says
/// that something changed (rtnetlink); what is true now is asked by binding a socket to each of our addresses, so that a lost
/// message costs nothing, and addresses that are local without being listed (127.0.0.0/8, routes of type local) count as well.
struct AddressWatch: Sendable {
  /// Between two looks without a word from the kernel: for IPs that are new here, and for a kernel that says nothing.
  private static let patience: Duration = .seconds(1)

  let config: ConfigInForce
  let fleet: Fleet
  let log: Logger

  /// Of the addresses, those that are not on this host now. What cannot be found out counts as there.
  static func missing(_ addresses: [String]) -> [String] { addresses.filter { shim_can_bind($0) == 0 } }

  /// What is pulled for it when the process begins.
  static func pulled(_ addresses: [String]) -> [(ip: String, cause: PullCauses.Cause, pull: OperatorOrders.Pull)] {
    missing(addresses).map { ($0, .absent, OperatorOrders.Pull(since: SystemClock.now(), reason: reason)) }
  }

  static let reason = "address not on this host"

  /// Until cancelled.
  func run() async {
    let signal = Signal()
    let events = Events(signal)
    if events == nil { log.notice("the kernel tells of no addresses here: they are looked at every second") }
    // Those that were pulled when the process began may be there by now.
    var known = Set(config.sourceIPs.map(\.address))
    while !Task.isCancelled {
      let missing = Set(Self.missing(config.sourceIPs.map(\.address)))
      for address in missing.subtracting(known).sorted() {
        log.critical("IP pulled: its address is not on this host", metadata: [LogKey.sourceIP: "\(address)"])
        await fleet.pull(address, .absent, reason: Self.reason, since: SystemClock.now())
      }
      for address in known.subtracting(missing).sorted() {
        await fleet.release(address, .absent)
      }
      known = missing
      await signal.wait(atMost: Self.patience)
    }
  }

  /// The kernel's socket, turned into a signal.
  private final class Events {
    private let source: any DispatchSourceRead

    init?(_ signal: Signal) {
      let descriptor = shim_address_events()
      guard descriptor >= 0 else { return nil }
      let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: .global())
      source.setEventHandler {
        if shim_take_events(descriptor) != 0 { source.cancel() }
        signal.fire()
      }
      source.setCancelHandler { close(descriptor) }
      source.resume()
      self.source = source
    }

    deinit { source.cancel() }
  }
}
