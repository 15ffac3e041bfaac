import Foundation
import Glibc
import Logging
import MTAConfig
import MailModel
import NIOCore
import Observability
import SMTPServer
import ServiceLifecycle
import TLS

/// One listener in its life: ends with the supervisor, and takes renewed certificates up by itself.
struct InboundService: Service {
  /// How often the certificate's files are looked at.
  private static let renewal: Duration = .seconds(10)

  /// `bounce` or `submission`, for metrics and log.
  let name: String
  let listener: SMTPListener
  let tls: MTAConfig.TLSFiles?
  let log: Logger

  /// Listens; sessions are answered from now on.
  /// - Parameter share: sockets that were passed stand for the places with their addresses.
  static func start(
    _ name: String, on places: [MTAConfig.Listen], share: ListenSockets.Share, tls: MTAConfig.TLSFiles?, group: any EventLoopGroup,
    options: SMTPListener.Options,
    receiver: any MailReceiver, log: Logger
  ) async throws -> InboundService {
    var options = options
    if let tls {
      do { options.tls = try context(tls) } catch { throw SetupError("\(name).tls: \(error)") }
    }
    let listener: SMTPListener
    do {
      listener = try await SMTPListener.start(on: Self.places(places, share), group: group, options: options, receiver: receiver)
    } catch { throw SetupError("\(name).listen: \(error)") }
    for address in share.unlisted {
      log.warning("a passed socket has an address that \(name).listen does not have", metadata: ["address": "\(address)"])
    }
    log.notice(
      "listening", metadata: ["\(name)": "\((share.passed.map { "\($0.address) (passed)" } + share.unbound).joined(separator: ", "))"])
    return InboundService(name: name, listener: listener, tls: tls, log: log)
  }

  private static func places(_ places: [MTAConfig.Listen], _ share: ListenSockets.Share) -> [SMTPListener.Place] {
    let passed = share.passed.map { socket in
      let entry = places.first { $0.canonical == socket.address } ?? places.first { socket.address.hasSuffix(":\($0.port)") }
      return SMTPListener.Place(.descriptor(socket.descriptor), isImplicitTLS: entry?.isImplicitTLS ?? socket.address.hasSuffix(":465"))
    }
    let bound = places.filter { share.unbound.contains($0.canonical) }
    return passed + bound.map { SMTPListener.Place(.address(host: $0.host, port: $0.port), isImplicitTLS: $0.isImplicitTLS) }
  }

  func run() async throws {
    await cancelWhenGracefulShutdown { await watchCertificate() }
    await listener.stop()
  }

  static func context(_ files: MTAConfig.TLSFiles) throws -> TLSContext {
    for path in [files.certificate, files.key] where access(path, R_OK) != 0 {
      throw SetupError("\(path) cannot be read: \(String(cString: strerror(errno)))")
    }
    do { return try TLSContext.server(certificateFile: files.certificate, keyFile: files.key) } catch {
      throw SetupError("\(files.certificate) and \(files.key) are no certificate and key: \(error)")
    }
  }

  private func watchCertificate() async {
    var known = tls.map(Self.stamp)
    while !Task.isCancelled {
      try? await Task.sleep(for: Self.renewal)
      guard let tls, !Task.isCancelled else { continue }
      let now = Self.stamp(tls)
      guard now != known else { continue }
      // Certificate and key may be replaced one after the other: only a pair that fits is taken up, else the old one stays.
      guard let context = try? TLSContext.server(certificateFile: tls.certificate, keyFile: tls.key) else {
        log.warning("\(name).tls changed and is not usable: the certificate before stays in force")
        known = now
        continue
      }
      listener.setTLS(context)
      known = now
      log.notice("\(name).tls was read again")
    }
  }

  private static func stamp(_ files: MTAConfig.TLSFiles) -> [Date?] {
    [files.certificate, files.key].map { path in
      (try? FileManager.default.attributesOfItem(atPath: URL(fileURLWithPath: path).resolvingSymlinksInPath().path))?[.modificationDate]
        as? Date
    }
  }
}

extension MTAConfig.Listen {
  /// As the kernel spells a socket's address.
  var canonical: String {
    guard let address = IPAddress.canonical(host) else { return "\(host):\(port)" }
    return address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
  }
}
