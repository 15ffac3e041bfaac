/// The Redis Functions as they are loaded: one library whose name carries its version.
package enum RedisLibrary {
  package static let name = "owlatmta1"
  package static var source: [UInt8] { PackageResources.mta_lua }
}
