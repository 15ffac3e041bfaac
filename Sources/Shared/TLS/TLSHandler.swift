internal import COpenSSL
internal import CShims
package import NIOCore

/// Fired down the pipeline when the handshake is done.
package struct TLSEstablished: Sendable, Equatable {
  /// `TLSv1.3` and the like.
  package let version: String
}

/// One TLS session over memory BIOs. Put it first in the pipeline; the handshake starts at once, and writes wait for it.
/// A failed handshake fires ``TLSError/handshake(_:)`` and closes the channel, after its alert has left.
package final class TLSHandler: ChannelDuplexHandler {
  package typealias InboundIn = ByteBuffer
  package typealias InboundOut = ByteBuffer
  package typealias OutboundIn = ByteBuffer
  package typealias OutboundOut = ByteBuffer

  private let context: TLSContext
  private let session: OpaquePointer
  private let incoming: OpaquePointer
  private let outgoing: OpaquePointer
  private var pending = MarkedCircularBuffer<(ByteBuffer, EventLoopPromise<Void>?)>(initialCapacity: 4)
  private var isEstablished = false
  private var isFailed = false

  /// - Parameter serverName: SNI for the client side; nil for a server or an address.
  package init(context: TLSContext, serverName: String?) throws(TLSError) {
    ERR_clear_error()
    guard let session = SSL_new(context.pointer), let incoming = BIO_new(BIO_s_mem()),
      let outgoing = BIO_new(BIO_s_mem())
    else { throw .setup(TLSContext.lastError()) }
    SSL_set_bio(session, incoming, outgoing)
    if context.isServer {
      SSL_set_accept_state(session)
    } else {
      SSL_set_connect_state(session)
      if let serverName { _ = shim_ssl_set_host_name(session, serverName) }
    }
    self.context = context
    self.session = session
    self.incoming = incoming
    self.outgoing = outgoing
  }

  deinit { SSL_free(session) }

  package func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { handshake(context) }
  }

  package func channelActive(context: ChannelHandlerContext) {
    handshake(context)
    context.fireChannelActive()
  }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isFailed else { return }
    let buffer = unwrapInboundIn(data)
    buffer.withUnsafeReadableBytes { bytes in
      _ = BIO_write(incoming, bytes.baseAddress, Int32(bytes.count))
    }
    if !isEstablished { handshake(context) }
    if isEstablished { readPlain(context) }
  }

  package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    pending.append((unwrapOutboundIn(data), promise))
  }

  package func flush(context: ChannelHandlerContext) {
    pending.mark()
    if isEstablished { writePending(context) }
    context.flush()
  }

  package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    if isEstablished && !isFailed {
      ERR_clear_error()
      SSL_shutdown(session)
      drain(context)
    }
    context.close(mode: mode, promise: promise)
  }

  package func channelInactive(context: ChannelHandlerContext) {
    while let (_, promise) = pending.popFirst() { promise?.fail(ChannelError.ioOnClosedChannel) }
    if !isEstablished && !isFailed {
      isFailed = true
      context.fireErrorCaught(TLSError.handshake("connection closed"))
    }
    context.fireChannelInactive()
  }

  private func handshake(_ context: ChannelHandlerContext) {
    ERR_clear_error()
    let result = SSL_do_handshake(session)
    let reason = result == 1 ? SSL_ERROR_NONE : SSL_get_error(session, result)
    drain(context)
    if result == 1 {
      isEstablished = true
      let version = SSL_get_version(session).map { String(cString: $0) } ?? "TLS"
      context.fireUserInboundEventTriggered(TLSEstablished(version: version))
      writePending(context)
      context.flush()
    } else if reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE {
      fail(context, .handshake(TLSContext.lastError()))
    }
  }

  private func readPlain(_ context: ChannelHandlerContext) {
    var plain = context.channel.allocator.buffer(capacity: 16384)
    while true {
      ERR_clear_error()
      let count = plain.writeWithUnsafeMutableBytes(minimumWritableBytes: 16384) { bytes in
        Int(max(0, SSL_read(session, bytes.baseAddress, Int32(min(bytes.count, 16384)))))
      }
      if count > 0 { continue }
      let reason = SSL_get_error(session, 0)
      drain(context)
      if plain.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(plain)) }
      let hasEnded = SSL_get_shutdown(session) & SSL_RECEIVED_SHUTDOWN != 0
      if hasEnded {
        context.close(promise: nil)
      } else if reason == SSL_ERROR_SSL && ERR_peek_error() != 0 {
        fail(context, .broken(TLSContext.lastError()))
      }
      return
    }
  }

  private func writePending(_ context: ChannelHandlerContext) {
    while pending.hasMark, let (buffer, promise) = pending.popFirst() {
      ERR_clear_error()
      let written = buffer.withUnsafeReadableBytes { bytes -> Bool in
        // A memory BIO takes everything: SSL_write never does less than asked.
        bytes.isEmpty || SSL_write(session, bytes.baseAddress, Int32(bytes.count)) == Int32(bytes.count)
      }
      guard written else {
        promise?.fail(TLSError.broken(TLSContext.lastError()))
        return fail(context, .broken("write"))
      }
      drain(context, promise: promise)
    }
  }

  /// Moves what OpenSSL wants to send to the socket.
  private func drain(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>? = nil) {
    let waiting = BIO_ctrl_pending(outgoing)
    guard waiting > 0 else {
      promise?.succeed()
      return
    }
    var buffer = context.channel.allocator.buffer(capacity: waiting)
    buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: waiting) { bytes in
      Int(max(0, BIO_read(outgoing, bytes.baseAddress, Int32(waiting))))
    }
    context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
  }

  private func fail(_ context: ChannelHandlerContext, _ error: TLSError) {
    guard !isFailed else { return }
    isFailed = true
    drain(context)
    context.fireErrorCaught(error)
    context.close(promise: nil)
  }
}
