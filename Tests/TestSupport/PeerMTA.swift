internal import Foundation
internal import Glibc

/// A mail server that others wrote, as Debian ships it, on loopback: in a root of its own (`deploy/dev/peers.sh` unpacks it) with
/// its own users, queue, log and mailbox. Nothing of this host's configuration is read or changed; only root can start it.
package final class PeerMTA: @unchecked Sendable {
  // Only one test holds it.
  package enum Program: String, Sendable, CaseIterable {
    case postfix, exim, opensmtpd

    /// OpenSMTPD 6.8 knows neither PIPELINING, CHUNKING nor SMTPUTF8.
    package var hasExtensions: Bool { self != .opensmtpd }
  }

  /// What it offers, as far as it knows it.
  package struct Options: Sendable {
    package var pipelining = true
    package var chunking = true
    package var startTLS = false
    /// Port of loopback to which it returns what it cannot deliver; nil = it returns nothing. It then takes mail for
    /// `late…@` and finds that the mailbox is gone, and for `slow…@` and finds that it must wait.
    package var returns: (domain: String, port: Int)?

    package init(pipelining: Bool = true, chunking: Bool = true, startTLS: Bool = false) {
      self.pipelining = pipelining
      self.chunking = chunking
      self.startTLS = startTLS
    }
  }

  /// What the server's own log says of the messages it took.
  package struct Account: Sendable, Equatable {
    /// By DATA.
    package var data = 0
    /// By BDAT; for Postfix the number of chunks.
    package var chunks = 0
    /// Whose commands came in one go; nil for a server that does not tell.
    package var pipelined: Int?
  }

  package let program: Program
  package let port: Int
  private let scratch: Scratch
  private let process: TestProcess

  /// False for everybody but root: a root of its own, users of its own.
  package static var isPermitted: Bool { getuid() == 0 }

  /// Where `deploy/dev/setup.sh --test` unpacks programs.
  static var unpacked: String {
    ProcessInfo.processInfo.environment["OWLAT_PEERS"] ?? FileManager.default.currentDirectoryPath + "/.build-peers"
  }

  /// Mail for `u…@` and `grüße…@` any of the domains is kept, mail for `unknown…@` refused in the server's own words.
  /// - Parameter domains: what it takes mail for.
  package init(_ program: Program, _ options: Options = Options(), domains: [String]) async throws {
    self.program = program
    port = try freePort()
    scratch = try Scratch()
    let root = scratch.file("root")
    let tree = Self.unpacked + "/\(program.rawValue)/root"
    guard FileManager.default.fileExists(atPath: tree) else {
      throw TimedOut(description: "\(program.rawValue) is not unpacked: call deploy/dev/setup.sh --test")
    }
    try Self.shell(Self.buildRoot, tree, root)
    if options.startTLS { try Self.shell(Self.makeCertificate, root) }
    let setup = PeerSetup(program, options, port: port, domains: domains)
    for (path, text) in setup.files { try text.write(toFile: "\(root)/\(path)", atomically: true, encoding: .utf8) }
    try Self.shell(setup.script, root)
    process = try TestProcess("/usr/sbin/chroot", [root] + setup.command, output: scratch.file("out"))
    let greeting = "read -t 2 -r line </dev/tcp/127.0.0.1/\(port) && [[ $line == 220* ]]"
    do {
      try await eventually("\(program.rawValue) greets") { try run("/bin/bash", ["-c", greeting]).code == 0 }
    } catch { throw TimedOut(description: "\(error)\n\(log().suffix(2000))") }
  }

  deinit { stop() }

  package func stop() {
    process.destroy()
    scratch.remove()
  }

  /// The folder of delivered messages, one a file.
  package var mailbox: String { scratch.file("root/mail/box/new") }

  package var delivered: Int { (try? FileManager.default.contentsOfDirectory(atPath: mailbox))?.count ?? 0 }

  package func log() -> String {
    let path =
      switch program {
      case .postfix: "root/var/log/mail.log"
      case .exim: "root/var/log/exim4/mainlog"
      case .opensmtpd: "out"
      }
    return (try? String(contentsOfFile: scratch.file(path), encoding: .utf8)) ?? ""
  }

  /// OpenSMTPD 6.8 of Debian 12 offers STARTTLS and fails in every handshake, because its key lives in another process and
  /// OpenSSL 3 does not ask that one (OpenSMTPD issue 1171).
  package var hasFailedInTLS: Bool { log().contains("SSL routines::") }

  /// Postfix counts a session's commands when the session ends.
  package func account() -> Account {
    let text = log()
    var account = Account()
    switch program {
    case .postfix:
      // `rcpt=3/4`: four were tried, three went well.
      for match in text.matches(of: /\ (data|bdat)=(\d+)/) {
        if match.1 == "data" { account.data += Int(match.2) ?? 0 } else { account.chunks += Int(match.2) ?? 0 }
      }
    case .exim:
      account.pipelined = 0
      for line in text.split(separator: "\n") where line.contains(" <= ") {
        if line.contains(" K ") { account.chunks += 1 } else { account.data += 1 }
        // L: used; L-: offered and not used; a dot behind it speaks of PIPECONNECT.
        if line.contains(/\ L[.*]?\ /) { account.pipelined = (account.pipelined ?? 0) + 1 }
      }
    case .opensmtpd: account.data = text.matches(of: /smtp message .* proto=ESMTP/).count
    }
    return account
  }

  // MARK: its root

  private static func shell(_ script: String, _ arguments: String...) throws {
    let done = try run("/bin/sh", ["-ec", script, "peer"] + arguments)
    guard done.code == 0 else { throw TimedOut(description: "a peer cannot be set up: \(done.errors)") }
  }

  private static let buildRoot = """
    cp -a "$1" "$2"
    cd "$2"
    mkdir -p dev etc/exim4 etc/postfix tmp mail run var/run var/log var/spool var/lib
    chmod 1777 tmp
    mknod -m 666 dev/null c 1 3
    mknod -m 666 dev/urandom c 1 9
    """

  private static let makeCertificate = """
    cd "$1"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mx.peer.example -keyout etc/tls.key -out etc/tls.crt
    chmod 600 etc/tls.key
    """
}
