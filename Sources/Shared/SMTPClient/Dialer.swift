internal import Glibc
internal import MailModel
internal import NIOCore
internal import NIOPosix

/// Connects to the first of several addresses that answers, in the manner of RFC 8305 §5: the next one is called when the
/// one before failed, or has kept silent for a while; the first connection wins and the others are closed. So a dead address
/// costs a moment, not a connect time-out, and a healthy host sees one connection.
final class Dialer: Sendable {
  /// How long an address may keep silent before the next is called too. Longer than a browser's 250 ms: a mail host that is
  /// merely far away should not get two connections.
  static let stagger: TimeAmount = .seconds(2)

  struct Line {
    var channel: any Channel
    var replies: ReplyHandler
    /// Of the target that it leads to.
    var index: Int
  }

  private struct State {
    var next = 0
    var underWay = 0
    var hasEnded = false
    var timer: Scheduled<Void>?
    var begun: [Int: any Channel] = [:]
    var lastFailure: (index: Int, fault: SMTPFault)?
  }

  private let targets: [SMTPTarget]
  private let eventLoop: any EventLoop
  private let began: @Sendable (any Channel) -> Void
  private let state: NIOLoopBoundBox<State>
  private let promise: EventLoopPromise<NIOLoopBound<Line>>

  /// - Parameter targets: not empty. Call on `eventLoop`.
  init(_ targets: [SMTPTarget], on eventLoop: any EventLoop, began: @escaping @Sendable (any Channel) -> Void) {
    self.targets = targets
    self.eventLoop = eventLoop
    self.began = began
    state = NIOLoopBoundBox(State(), eventLoop: eventLoop)
    promise = eventLoop.makePromise()
  }

  /// - Returns: the line, or what became of the last address: a source address that is not there counts before all else.
  func dial() async -> Result<Line, Failure> {
    callNext()
    do { return .success(try await promise.futureResult.get().value) } catch {
      let failure = state.value.lastFailure ?? (0, .connectFailed("\(error)"))
      return .failure(Failure(index: failure.index, fault: failure.fault))
    }
  }

  struct Failure: Error {
    var index: Int
    var fault: SMTPFault
  }

  private func callNext() {
    state.value.timer?.cancel()
    guard !state.value.hasEnded, state.value.next < targets.count else { return }
    let index = state.value.next
    state.value.next += 1
    state.value.underWay += 1
    connect(targets[index], index).whenComplete { self.ended($0, index) }
    guard state.value.next < targets.count else { return }
    state.value.timer = eventLoop.scheduleTask(in: Self.stagger) { self.callNext() }
  }

  private func ended(_ result: Result<NIOLoopBound<Line>, any Error>, _ index: Int) {
    state.value.underWay -= 1
    state.value.begun[index] = nil
    switch result {
    case .success(let line):
      guard !state.value.hasEnded else { return line.value.channel.close(promise: nil) }
      state.value.hasEnded = true
      state.value.timer?.cancel()
      for other in state.value.begun.values { other.close(promise: nil) }
      promise.succeed(line)
    case .failure(let error):
      guard !state.value.hasEnded else { return }
      note(Self.fault(error, targets[index]), index)
      if state.value.next < targets.count { return callNext() }
      guard state.value.underWay == 0 else { return }
      state.value.hasEnded = true
      promise.fail(error)
    }
  }

  private func note(_ fault: SMTPFault, _ index: Int) {
    if case .sourceUnavailable = state.value.lastFailure?.fault { return }
    state.value.lastFailure = (index, fault)
  }

  private func connect(_ target: SMTPTarget, _ index: Int) -> EventLoopFuture<NIOLoopBound<Line>> {
    // IP_BIND_ADDRESS_NO_PORT: the kernel picks the port at connect, so one source can hold more than 28,000 sessions.
    let noPort = ChannelOptions.Types.SocketOption(level: .ip, name: .init(rawValue: 24))
    let source: SocketAddress
    let remote: SocketAddress
    do {
      source = try SocketAddress(ipAddress: target.sourceIP, port: 0)
      remote = try SocketAddress(ipAddress: target.address, port: target.port)
    } catch {
      return eventLoop.makeFailedFuture(error)
    }
    let handler = ReplyHandler(eventLoop: eventLoop)
    let replies = NIOLoopBound(handler, eventLoop: eventLoop)
    var bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(target.timeouts.connect)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        self.state.value.begun[index] = channel
        self.began(channel)
        return channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(replies.value) }
      }
    if case .v4 = source { bootstrap = bootstrap.channelOption(noPort, value: 1) }
    return bootstrap.bind(to: source).connect(to: remote).flatMapThrowing { channel in
      // The address that the peer sees is the one this IP's mail must come from.
      // A peer that has hung up already leaves no address to ask for; what it did is told by the first read.
      guard Self.localAddress(of: channel) == source.ipAddress || !channel.isActive else {
        channel.close(promise: nil)
        throw SMTPFault.sourceUnavailable(target.sourceIP)
      }
      return NIOLoopBound(Line(channel: channel, replies: replies.value, index: index), eventLoop: channel.eventLoop)
    }
  }

  /// Asked of the kernel now (getsockname), not remembered from when it was bound.
  private static func localAddress(of channel: any Channel) -> String? {
    try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { descriptor in
      var storage = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      return withUnsafeMutablePointer(to: &storage) { pointer in
        guard pointer.withMemoryRebound(to: sockaddr.self, capacity: 1, { getsockname(descriptor, $0, &length) }) == 0 else { return nil }
        switch Int32(pointer.pointee.ss_family) {
        case AF_INET: return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee).ipAddress }
        case AF_INET6: return pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee).ipAddress }
        default: return nil
        }
      }
    } ?? nil
  }

  private static func fault(_ error: any Error, _ target: SMTPTarget) -> SMTPFault {
    switch error {
    case let fault as SMTPFault: return fault
    case let error as IOError where error.errnoCode == EADDRNOTAVAIL: return .sourceUnavailable(target.sourceIP)
    case let error as ChannelError:
      if case .connectTimeout = error { return .timedOut(.connect) }
      return .connectFailed("\(error)")
    default: return .connectFailed("\(error)")
    }
  }
}
