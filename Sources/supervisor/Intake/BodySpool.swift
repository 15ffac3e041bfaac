import Foundation
import Glibc
import NIOCore

/// A request's body kept until it is known to be whole: in memory while small, beyond that in a file without a name, so that
/// a large batch costs disk, not memory.
final class BodySpool {
  // Made and used within one request; never shared.
  private static let inMemory = 1 << 20
  private static let chunk = 256 << 10

  private let directory: String
  private var memory: [UInt8] = []
  private var descriptor: Int32 = -1

  /// - Parameter directory: where the file is made.
  init(directory: String) { self.directory = directory }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// - Throws: 503 when the disk takes no more.
  func append(_ piece: ByteBuffer) throws(APIError) {
    memory += piece.readableBytesView
    if memory.count > Self.inMemory { try flush() }
  }

  private func flush() throws(APIError) {
    if descriptor < 0 {
      var path = Array((directory + "/batch-XXXXXX").utf8CString)
      descriptor = mkstemp(&path)
      guard descriptor >= 0, unlink(path) == 0 else { throw Self.full }
    }
    var start = 0
    while start < memory.count {
      let count = memory[start...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      guard count > 0 else { throw Self.full }
      start += count
    }
    memory.removeAll(keepingCapacity: true)
  }

  /// All of it again, in chunks.
  func read(_ take: ([UInt8]) async throws -> Void) async throws {
    guard descriptor >= 0 else { return try await take(memory) }
    try flush()
    var offset: off_t = 0
    while true {
      let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, count in
        count = max(0, pread(descriptor, buffer.baseAddress, Self.chunk, offset))
      }
      guard !bytes.isEmpty else { return }
      offset += off_t(bytes.count)
      try await take(bytes)
    }
  }

  private static let full = APIError(status: 503, text: "Service temporarily unavailable: low disk space", retryAfterSeconds: 60)
}
