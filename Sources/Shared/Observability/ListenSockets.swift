internal import CShims
internal import CSystemd
internal import Glibc
internal import Synchronization

/// Listening sockets that the service manager passed (sd_listen_fds(3)). One stands for the `listen` entry with its address,
/// whatever opened it: it is open before this process begins and after it ends, so whoever connects meanwhile waits.
package final class ListenSockets: Sendable {
  package struct Passed: Sendable, Equatable {
    package var descriptor: Int32
    /// `FileDescriptorName=`, else the name of its unit.
    package var name: String
    /// `address:port`, `[address]:port` or `unix:path`.
    package var address: String
    /// Bound to IPv6, takes IPv4 too.
    package var isDualStack: Bool

    package init(descriptor: Int32, name: String, address: String, isDualStack: Bool) {
      self.descriptor = descriptor
      self.name = name
      self.address = address
      self.isDualStack = isDualStack
    }
  }

  /// What a listener serves on.
  package struct Share: Sendable, Equatable {
    package var passed: [Passed] = []
    /// `listen` entries for which no socket was passed: to be bound.
    package var unbound: [String] = []
    /// Of `passed`: addresses that no entry has.
    package var unlisted: [String] = []

    package init() {}
  }

  /// `FileDescriptorName=` of our socket units, one for each kind of listener.
  package static let api = "api"
  package static let smtp = "smtp"
  package static let submission = "submission"
  private static let kinds: Set<String> = [api, smtp, submission]

  private let sockets: Mutex<[Passed]>

  package init(_ sockets: [Passed]) { self.sockets = Mutex(sockets) }

  /// Those that this process was given. Call once, before any other process is started.
  package static func inherited() -> ListenSockets {
    var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    let count = sd_listen_fds_with_names(1, &names)
    defer { free(names) }
    var sockets: [Passed] = []
    for index in 0..<max(0, Int(count)) {
      let descriptor = Int32(index) + 3
      var name = ""
      if let pointer = names?[index] {
        name = String(cString: pointer)
        free(pointer)
      }
      var text = [CChar](repeating: 0, count: 256)
      let kind = shim_listening_address(descriptor, &text, text.count)
      guard kind >= 0 else { continue }
      let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      sockets.append(Passed(descriptor: descriptor, name: name, address: address, isDualStack: kind == 1))
    }
    return ListenSockets(sockets)
  }

  /// The sockets of one kind of listener, each given out once: those with the address of an entry (and not another kind's
  /// name), and those of its name whatever their address.
  /// - Parameter listen: `address:port` entries, addresses in canonical form.
  package func take(_ kind: String, listen: [String]) -> Share {
    sockets.withLock { sockets in
      var share = Share()
      for entry in listen {
        let found = sockets.firstIndex { socket in
          (socket.name == kind || !Self.kinds.contains(socket.name)) && Self.stands(socket, for: entry)
        }
        if let found { share.passed.append(sockets.remove(at: found)) } else { share.unbound.append(entry) }
      }
      for socket in sockets where socket.name == kind {
        share.passed.append(socket)
        share.unlisted.append(socket.address)
      }
      sockets.removeAll { $0.name == kind }
      return share
    }
  }

  /// What nobody took.
  package var rest: [Passed] { sockets.withLock { $0 } }

  /// `[::]:25` that takes IPv4 too stands for `0.0.0.0:25` as well.
  private static func stands(_ socket: Passed, for entry: String) -> Bool {
    if socket.address == entry { return true }
    guard socket.isDualStack, socket.address.hasPrefix("[::]:"), entry.hasPrefix("0.0.0.0:") else { return false }
    return socket.address.dropFirst("[::]:".count) == entry.dropFirst("0.0.0.0:".count)
  }
}
