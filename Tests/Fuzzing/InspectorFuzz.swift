import MTAConfig
import NIOCore

/// What an inspector answers, of each kind: a verdict whose text can stand in a log line, or a fault.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let answer = ByteBuffer(bytes: UnsafeBufferPointer(start: data, count: size))
  for kind in MTAConfig.Inspector.Kind.allCases {
    _ = InspectorDialect.isComplete(kind, answer)
    let inspector = MTAConfig.Inspector(kind: kind, address: .tcp(host: "127.0.0.1", port: 1))
    guard case .rejected(let why)? = try? InspectorDialect.verdict(inspector, answer) else { continue }
    precondition(why.utf8.count < 512 && !why.unicodeScalars.contains { $0.value < 0x20 })
  }
  return 0
}
