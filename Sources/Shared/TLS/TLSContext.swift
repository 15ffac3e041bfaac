internal import COpenSSL
internal import CShims

/// Faults of TLS.
package enum TLSError: Error, Sendable, Equatable, CustomStringConvertible {
  case setup(String)
  case handshake(String)
  case broken(String)

  package var description: String {
    switch self {
    case .setup(let text): "TLS set-up: \(text)"
    case .handshake(let text): "TLS handshake: \(text)"
    case .broken(let text): "TLS session: \(text)"
    }
  }
}

/// Settings shared by the sessions of one side. TLS 1.2 or better, nothing verified: opportunistic TLS takes any
/// certificate (RFC 7435); verified modes set their own demands later.
package final class TLSContext: @unchecked Sendable {
  // OpenSSL counts references to SSL_CTX itself and locks inside; the pointer never changes after init.
  let pointer: OpaquePointer
  let isServer: Bool

  /// For connecting out.
  package static func client() throws(TLSError) -> TLSContext {
    guard let pointer = SSL_CTX_new(TLS_client_method()) else { throw .setup(Self.lastError()) }
    guard shim_ssl_ctx_min_tls12(pointer) == 1 else {
      SSL_CTX_free(pointer)
      throw .setup(Self.lastError())
    }
    SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
    return TLSContext(pointer: pointer, isServer: false)
  }

  /// For being connected to.
  package static func server(certificateFile: String, keyFile: String) throws(TLSError) -> TLSContext {
    guard let pointer = SSL_CTX_new(TLS_server_method()) else { throw .setup(Self.lastError()) }
    guard shim_ssl_ctx_min_tls12(pointer) == 1,
      SSL_CTX_use_certificate_chain_file(pointer, certificateFile) == 1,
      SSL_CTX_use_PrivateKey_file(pointer, keyFile, SSL_FILETYPE_PEM) == 1
    else {
      SSL_CTX_free(pointer)
      throw .setup(Self.lastError())
    }
    return TLSContext(pointer: pointer, isServer: true)
  }

  private init(pointer: OpaquePointer, isServer: Bool) {
    self.pointer = pointer
    self.isServer = isServer
  }

  deinit { SSL_CTX_free(pointer) }

  static func lastError() -> String {
    let code = ERR_get_error()
    guard code != 0 else { return "no detail" }
    var text = [UInt8](repeating: 0, count: 256)
    text.withUnsafeMutableBytes { ERR_error_string_n(code, $0.bindMemory(to: CChar.self).baseAddress, $0.count) }
    ERR_clear_error()
    return String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
  }
}
