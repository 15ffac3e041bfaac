import Glibc

/// One file without a name, for all inputs.
private let descriptor: Int32 = {
  var name = "/tmp/append-only-XXXXXX".utf8CString.map { $0 }
  let descriptor = mkstemp(&name)
  unlink(name)
  return descriptor
}()

/// What is left of a torn file ends with a whole step, and is found whole.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, data, size, 0) == size else { return 0 }
  var reader = AppendOnlyReader(descriptor, size: size)
  guard case .torn(let end) = reader.find() else { return 0 }
  precondition((0..<size).contains(end))
  var again = AppendOnlyReader(descriptor, size: end)
  precondition(again.find() == .whole)
  return 0
}
