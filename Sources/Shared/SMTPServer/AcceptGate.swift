package import NIOCore
internal import NIOConcurrencyHelpers

/// Bounds how many accepted connections of one or more listening sockets are open at once, with those that are only being told
/// to come later. Who comes beyond that waits in the kernel's queue: a burst of clients takes no descriptor that something else
/// needs. Every listening socket may have one more.
package final class AcceptGate: Sendable {
  /// More than a service serves: connections that are being sent away.
  package static let beingRefused = 8

  private struct State {
    var open = 0
    var waiting: [NIOLoopBound<AcceptGateHandler>] = []
  }

  private let most: Int
  private let state = NIOLockedValueBox(State())

  package init(most: Int) { self.most = most }

  /// Connections that are open now.
  package var open: Int { state.withLockedValue { $0.open } }

  /// For a bootstrap's `serverChannelInitializer`, before any other handler.
  package func guardDoor(of server: any Channel) -> EventLoopFuture<Void> {
    server.eventLoop.makeCompletedFuture {
      try server.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
      try server.pipeline.syncOperations.addHandler(AcceptGateHandler(self))
    }
  }

  fileprivate func enter() { state.withLockedValue { $0.open += 1 } }

  fileprivate func leave() {
    let next = state.withLockedValue { state -> [NIOLoopBound<AcceptGateHandler>] in
      state.open -= 1
      guard state.open < most else { return [] }
      defer { state.waiting = [] }
      return state.waiting
    }
    for handler in next { handler.eventLoop.execute { handler.value.proceed() } }
  }

  /// Whether there is room; else the handler is told when there is.
  fileprivate func hasRoom(_ handler: AcceptGateHandler, on loop: any EventLoop) -> Bool {
    state.withLockedValue { state in
      if state.open < most { return true }
      state.waiting.append(NIOLoopBound(handler, eventLoop: loop))
      return false
    }
  }
}

/// On a listening socket: accepts one connection at a time, and none while the gate is shut.
private final class AcceptGateHandler: ChannelDuplexHandler {
  typealias InboundIn = any Channel
  typealias InboundOut = any Channel
  typealias OutboundIn = Never

  private let gate: AcceptGate
  private var context: ChannelHandlerContext?
  private var isWaiting = false

  init(_ gate: AcceptGate) { self.gate = gate }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    gate.enter()
    unwrapInboundIn(data).closeFuture.whenComplete { [gate] _ in gate.leave() }
    context.fireChannelRead(data)
  }

  func read(context: ChannelHandlerContext) {
    guard !isWaiting else { return }
    guard gate.hasRoom(self, on: context.eventLoop) else {
      isWaiting = true
      return
    }
    context.read()
  }

  /// A listener that stops has had its reading turned off meanwhile.
  func proceed() {
    isWaiting = false
    guard let context, (try? context.channel.syncOptions?.getOption(.autoRead)) == true else { return }
    read(context: context)
  }
}
