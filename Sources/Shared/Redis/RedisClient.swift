package import MailModel
internal import NIOConcurrencyHelpers
package import NIOCore
internal import NIOPosix
internal import RedisFunctions

/// One pipelined connection to Redis that comes back by itself. Commands fail at once while it is away; nothing is
/// repeated here, because only the caller knows what may run twice.
package final class RedisClient: Sendable {
  /// What a connection met on the other side.
  package struct Session: Sendable, Equatable {
    /// Changes with every restart of Redis.
    package let runID: String
    /// Redis's clock less ours, in milliseconds.
    package var clockOffset: Int64
    /// Rises with each connection of this client: answers may have been lost with the one before.
    package let connection: Int
  }

  private struct State {
    var channel: (any Channel)?
    var session: Session?
    var lastFault: String?
    var connections = 0
    var username: String
    var password: String
  }

  private let endpoint: RedisEndpoint
  private let eventLoop: any EventLoop
  private let loadsFunctions: Bool
  private let clock: WallClock
  private let state: NIOLockedValueBox<State>

  package init(endpoint: RedisEndpoint, eventLoop: any EventLoop, loadsFunctions: Bool, clock: @escaping WallClock) {
    self.endpoint = endpoint
    self.eventLoop = eventLoop
    self.loadsFunctions = loadsFunctions
    self.clock = clock
    state = NIOLockedValueBox(State(username: endpoint.username, password: endpoint.password))
  }

  /// Whom connections made from now on are to be.
  package func use(username: String, password: String) {
    state.withLockedValue { ($0.username, $0.password) = (username, password) }
  }

  /// Nil while not connected.
  package var session: Session? { state.withLockedValue { $0.session } }
  package var lastFault: String? { state.withLockedValue { $0.lastFault } }

  /// Gives the connection up, and makes another.
  package func reconnect() { state.withLockedValue { $0.channel }?.close(promise: nil) }

  /// Sends one command and waits for its reply.
  /// - Parameter timeLimit: after it the connection is given up as stalled.
  package func send(_ command: RedisCommand, timeLimit: TimeAmount = .seconds(8)) async throws -> RESPValue {
    guard let channel = state.withLockedValue({ $0.session == nil ? nil : $0.channel }) else {
      throw RedisError.notConnected
    }
    do { return try await Self.send(command, on: channel, timeLimit: timeLimit) } catch {
      // Somebody removed our Functions. A new connection brings them back, once it has seen that the queue still is of our format.
      if loadsFunctions, (error as? RedisError)?.isWithoutFunctions == true { channel.close(promise: nil) }
      throw error
    }
  }

  private static func send(_ command: RedisCommand, on channel: any Channel, timeLimit: TimeAmount) async throws
    -> RESPValue
  {
    let promise = channel.eventLoop.makePromise(of: RESPValue.self)
    // A channel that closed meanwhile has no handler left that would keep the promise.
    channel.writeAndFlush(RESPHandler.Request(command: command, promise: promise, timeLimit: timeLimit)).whenFailure { _ in
      promise.fail(RedisError.lost)
    }
    let value = try await promise.futureResult.get()
    if case .error(let text) = value { throw RedisError.refused(text) }
    return value
  }

  /// Keeps the connection until the task is cancelled. `onSession` is awaited before commands are let through, with a
  /// sender that already may; when it throws, the connection is closed and tried again.
  package func run(onSession: @Sendable (Session, Sender) async throws -> Void = { _, _ in }) async {
    var delay: Int64 = 50
    var connections = 0
    while !Task.isCancelled {
      do {
        let channel = try await connect()
        do {
          connections += 1
          let session = try await open(channel, connections)
          try await onSession(session, Sender(channel: channel))
          state.withLockedValue {
            $0.channel = channel
            $0.session = session
            $0.lastFault = nil
          }
          delay = 50
          try await withTaskCancellationHandler {
            try await channel.closeFuture.get()
          } onCancel: {
            channel.close(promise: nil)
          }
          state.withLockedValue {
            $0.session = nil
            $0.channel = nil
            $0.lastFault = "the connection was closed"
          }
        } catch {
          channel.close(promise: nil)
          throw error
        }
      } catch {
        state.withLockedValue { $0.lastFault = "\(error)" }
      }
      try? await Task.sleep(for: .milliseconds(delay))
      delay = min(delay * 2, 1000)
    }
  }

  /// Sends on one connection that is not yet open to all.
  package struct Sender: Sendable {
    fileprivate let channel: any Channel
    package func send(_ command: RedisCommand) async throws -> RESPValue {
      try await RedisClient.send(command, on: channel, timeLimit: .seconds(8))
    }
  }

  private func connect() async throws -> any Channel {
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(.seconds(3))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(RESPHandler()) }
      }
    switch endpoint.address {
    case .tcp(let host, let port): return try await bootstrap.connect(host: host, port: port).get()
    case .unix(let path): return try await bootstrap.connect(unixDomainSocketPath: path).get()
    }
  }

  private func open(_ channel: any Channel, _ number: Int) async throws -> Session {
    func send(_ command: RedisCommand) async throws -> RESPValue {
      try await Self.send(command, on: channel, timeLimit: .seconds(8))
    }
    var (username, password) = state.withLockedValue { ($0.username, $0.password) }
    if username.isEmpty, password.isEmpty { password = endpoint.currentPassword }
    if !password.isEmpty {
      var auth = RedisCommand("AUTH")
      if !username.isEmpty { auth.add(username) }
      auth.add(password)
      do { _ = try await send(auth) } catch let error as RedisError where error.isPasswordless {
        // A server that was started before it had a password: whoever knows one gives it one.
      }
    }
    let info = try await send(RedisCommand("INFO", "server")).string ?? ""
    guard let runID = RedisInfo.word("run_id", in: info) else {
      throw RedisError.unexpected("INFO without run_id")
    }
    let offset = try clockOffset(try await send(RedisCommand("TIME")))
    if loadsFunctions { try await Self.loadFunctions(send) }
    let connection = state.withLockedValue { state in
      state.connections += 1
      return state.connections
    }
    return Session(runID: runID, clockOffset: offset, connection: connection)
  }

  /// Compares the clocks again: either may have been set since the connection was made, and deadlines are in Redis's.
  package func measureClock() async throws {
    let connection = session?.connection
    let offset = try clockOffset(try await send(RedisCommand("TIME")))
    state.withLockedValue { if $0.session?.connection == connection { $0.session?.clockOffset = offset } }
  }

  private func clockOffset(_ time: RESPValue) throws -> Int64 {
    guard let time = time.array, time.count == 2, let seconds = time[0].int64, let micros = time[1].int64 else {
      throw RedisError.unexpected("TIME")
    }
    return seconds * 1000 + micros / 1000 - clock()
  }

  private static func loadFunctions(_ send: (RedisCommand) async throws -> RESPValue) async throws {
    let library = RedisLibrary.own
    var load = RedisCommand("FUNCTION", "LOAD", capacity: library.source.count + 64)
    load.add(library.source)
    do { _ = try await send(load) } catch let error as RedisError {
      // Its name is its content: what is there under it is the same.
      guard case .refused(let text) = error, text.contains("already exists") else { throw error }
    }
  }
}
