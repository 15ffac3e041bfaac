internal import CZstd

/// Content at rest: zstd, level 1.
package enum Compression {
  package enum Failure: Error, Sendable, Equatable {
    case damaged
    case tooLarge
  }

  package static func compress(_ bytes: [UInt8]) -> [UInt8] {
    let bound = ZSTD_compressBound(bytes.count)
    return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      let written = ZSTD_compress(buffer.baseAddress, bound, bytes, bytes.count, 1)
      count = ZSTD_isError(written) != 0 ? 0 : written
    }
  }

  /// - Parameter limit: larger results are refused before they are made.
  package static func decompress(_ bytes: [UInt8], limit: Int) throws(Failure) -> [UInt8] {
    let size = ZSTD_getFrameContentSize(bytes, bytes.count)
    guard size < UInt64.max - 1 else { throw .damaged }
    guard size <= UInt64(limit) else { throw .tooLarge }
    var failed = false
    let output = [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
      let written = ZSTD_decompress(buffer.baseAddress, Int(size), bytes, bytes.count)
      failed = ZSTD_isError(written) != 0 || written != Int(size)
      count = failed ? 0 : written
    }
    guard !failed else { throw .damaged }
    return output
  }
}
