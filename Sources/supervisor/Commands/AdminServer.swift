import CShims
import ControlProtocol
import Foundation
import Glibc
import Logging
import NIOCore
import NIOPosix
import Observability

/// Tells whoever asked how far long work has come.
struct AdminProgress: Sendable {
  let tell: @Sendable (Int) -> Void

  init(_ tell: @escaping @Sendable (Int) -> Void) { self.tell = tell }
}

/// Listens on `<runtime_dir>/control.sock` for operators' commands. Only root and the supervisor's own user are heard, and of these no
/// worker: one that was taken over is no operator.
struct AdminServer: Sendable {
  let path: String
  let group: any EventLoopGroup
  let log: Logger
  /// The request, where to tell progress, and the peer's user id.
  let answer: @Sendable (AdminRequest, AdminProgress, Int64) async -> AdminReply

  func run() async throws {
    unlink(path)
    let channel = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AdminSession(answer: answer))
        }
      }
      .bind(unixDomainSocketPath: path).get()
    chmod(path, 0o600)
    defer { unlink(path) }
    try await withTaskCancellationHandler {
      try await channel.closeFuture.get()
    } onCancel: {
      channel.close(promise: nil)
    }
  }
}

private final class AdminSession: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let responder: AdminResponder
  private var buffer = ByteBuffer()
  /// Nil until the peer is known to be one of those who are heard.
  private var uid: Int64?

  init(answer: @escaping @Sendable (AdminRequest, AdminProgress, Int64) async -> AdminReply) {
    responder = AdminResponder(answer: answer)
  }

  func channelActive(context: ChannelHandlerContext) {
    let peer = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
      (uid: shim_peer_uid($0), pid: shim_peer_pid($0))
    }
    guard let peer, peer.uid == 0 || peer.uid == Int64(geteuid()), !Self.isWorker(peer.pid) else { return context.close(promise: nil) }
    uid = peer.uid
  }

  /// By its program, which a process cannot change; its filter keeps a worker from hiding it (PR_SET_DUMPABLE). Whose program cannot be
  /// seen is of another user or user namespace, as no worker is.
  private static func isWorker(_ pid: pid_t) -> Bool {
    guard pid > 0, let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe") else { return false }
    // A program that was replaced meanwhile has ` (deleted)` behind its name.
    return path.split(separator: "/").last.map { $0 == "ipworker" || $0.hasPrefix("ipworker ") } ?? false
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard let uid else { return }
    var incoming = unwrapInboundIn(data)
    buffer.writeBuffer(&incoming)
    do {
      while let request = try ControlFrame.decode(AdminRequest.self, from: &buffer) { respond(to: request, uid, context.channel) }
    } catch {
      context.close(promise: nil)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func respond(to request: AdminRequest, _ uid: Int64, _ channel: any Channel) {
    let responder = responder
    Task { await responder.respond(to: request, uid, channel) }
  }
}

/// Apart from the session, which is bound to its event loop.
private struct AdminResponder: Sendable {
  /// The request, where to tell progress, and the peer's user id.
  let answer: @Sendable (AdminRequest, AdminProgress, Int64) async -> AdminReply

  func respond(to request: AdminRequest, _ uid: Int64, _ channel: any Channel) async {
    write(await answer(request, AdminProgress { write(AdminReply(progress: $0), channel) }, uid), channel)
  }

  private func write(_ reply: AdminReply, _ channel: any Channel) {
    var buffer = ByteBuffer()
    do { try ControlFrame.encode(reply, into: &buffer) } catch {
      try? ControlFrame.encode(AdminReply(fault: "the answer is too large: ask for less"), into: &buffer)
    }
    channel.writeAndFlush(buffer, promise: nil)
  }
}

/// The other end, for the commands: one request, blocking until its last frame.
enum AdminClient {
  enum Failure: Error { case unreachable(String) }

  static func call(_ request: AdminRequest, socket path: String, progress: (Int) -> Void = { _ in }) throws -> AdminReply {
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard fd >= 0 else { throw Failure.unreachable("no socket") }
    defer { close(fd) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { throw Failure.unreachable("\(path) is too long") }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    guard connected == 0 else { throw Failure.unreachable("\(path): \(String(cString: strerror(errno)))") }
    var buffer = ByteBuffer()
    try ControlFrame.encode(request, into: &buffer)
    let sent = buffer.withUnsafeReadableBytes { write(fd, $0.baseAddress, $0.count) }
    guard sent == buffer.readableBytes else { throw Failure.unreachable("\(path): cannot write") }
    buffer.clear()
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      while let reply = try ControlFrame.decode(AdminReply.self, from: &buffer) {
        guard let done = reply.progress else { return reply }
        progress(done)
      }
      let count = read(fd, &chunk, chunk.count)
      guard count > 0 else { throw Failure.unreachable("\(path): closed without an answer") }
      buffer.writeBytes(chunk[..<count])
    }
  }
}
