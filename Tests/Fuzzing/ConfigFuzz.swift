import MTAConfig

/// A configuration file: every fault is a problem with a text, never an end.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  let report = MTAConfig.read(yaml: text, environment: [:], hostName: "mta.example", readFile: { _ in nil })
  precondition(report.config != nil || !report.problems.isEmpty)
  return 0
}
