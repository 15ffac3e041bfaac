internal import CUnbound
internal import Foundation
internal import Synchronization

/// The validating, caching resolver: libunbound with its own worker thread, its answers picked up by one thread of ours.
package final class DNSResolver: @unchecked Sendable {
  // libunbound contexts are made for use from several threads; the pointer never changes, `waiting` has its lock.
  private let context: OpaquePointer
  private let waiting = Mutex<[Int: Pending]>([:])
  private let nextKey = Mutex(0)

  private struct Pending {
    var continuation: CheckedContinuation<DNSAnswer, Never>
    var queryID: Int32
  }

  /// - Parameters:
  ///   - servers: `address` or `address@port`: every name goes to them, and nothing is validated unless `trustAnchors` are
  ///     given. Empty: recursion from the root, validated with the root's key.
  ///   - trustAnchors: a file, or a DS or DNSKEY line each.
  package init(servers: [String], trustAnchors: [String]) throws(DNSError) {
    guard let context = ub_ctx_create() else { throw .setup("out of memory") }
    self.context = context
    try set("do-not-query-localhost:", "no")
    try set("cache-max-negative-ttl:", "900")
    try set("msg-cache-size:", "16m")
    try set("rrset-cache-size:", "32m")
    for server in servers {
      guard ub_ctx_set_fwd(context, server) == 0 else { throw .setup("server \(server)") }
    }
    if !servers.isEmpty {
      try set("unblock-lan-zones:", "yes")
      try set("insecure-lan-zones:", "yes")
      // `nodefault` set through the library leaves libunbound 1.17's own zone in place (127.0.0.x had no PTR); a
      // transparent zone without data replaces it and asks the servers.
      for zone in Self.builtInZones { try set("local-zone:", "\(zone) transparent") }
    }
    if servers.isEmpty, trustAnchors.isEmpty {
      guard ub_ctx_add_ta(context, Self.rootAnchor) == 0 else { throw .setup("root trust anchor") }
    }
    for anchor in trustAnchors {
      let isFile = anchor.hasPrefix("/")
      guard (isFile ? ub_ctx_add_ta_file(context, anchor) : ub_ctx_add_ta(context, anchor)) == 0 else {
        throw .setup("trust anchor \(anchor.prefix(40))")
      }
    }
    if !servers.isEmpty, trustAnchors.isEmpty { try set("module-config:", "iterator") }
    guard ub_ctx_async(context, 1) == 0 else { throw .setup("thread") }
    let shared = Context(pointer: context)
    let thread = Thread { [weak self] in
      let context = shared.pointer
      let descriptor = ub_fd(context)
      while true {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let count = Foundation.poll(&poll, 1, 1000)
        guard self != nil else { return }
        if count > 0 { ub_process(context) }
      }
    }
    thread.name = "resolver"
    thread.start()
  }

  // RFC 8509 root KSK-2017.
  private static let rootAnchor =
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
  /// Names that libunbound answers by itself unless told not to.
  private static let builtInZones = [
    "localhost.", "127.in-addr.arpa.", "onion.", "test.", "invalid.", "home.arpa.", "local.",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
  ]

  private func set(_ option: String, _ value: String) throws(DNSError) {
    guard ub_ctx_set_option(context, option, value) == 0 else { throw .setup("\(option) \(value)") }
  }

  /// Asks; answers ``DNSAnswer/Status/unknown(_:)`` when nothing came within the limit.
  package func resolve(_ name: String, _ type: DNSType, limit: Duration = .seconds(12)) async -> DNSAnswer {
    let key = nextKey.withLock { next in
      next += 1
      return next
    }
    let timer = Task {
      try? await Task.sleep(for: limit)
      if !Task.isCancelled { self.finish(key, DNSAnswer(status: .unknown("no answer in time"))) }
    }
    defer { timer.cancel() }
    return await withCheckedContinuation { continuation in
      waiting.withLock { $0[key] = Pending(continuation: continuation, queryID: 0) }
      let box = Unmanaged.passRetained(Query(resolver: self, key: key))
      var id: Int32 = 0
      let code = ub_resolve_async(context, name, type.rawValue, 1, box.toOpaque(), received, &id)
      if code != 0 {
        box.release()
        finish(key, DNSAnswer(status: .unknown("resolver error \(code)")))
      }
    }
  }

  /// Whoever comes first, answer or time-out, resumes the one who waits.
  fileprivate func finish(_ key: Int, _ answer: DNSAnswer) {
    let pending = waiting.withLock { $0.removeValue(forKey: key) }
    pending?.continuation.resume(returning: answer)
  }
}

/// A context on its way to the thread that picks up its answers. Never deleted: a resolver lives as long as its process,
/// and deleting one drops the callbacks of queries that are under way.
private struct Context: @unchecked Sendable {
  let pointer: OpaquePointer
}

private final class Query: Sendable {
  let resolver: DNSResolver
  let key: Int

  init(resolver: DNSResolver, key: Int) {
    self.resolver = resolver
    self.key = key
  }
}

private func received(_ data: UnsafeMutableRawPointer?, _ error: Int32, _ result: UnsafeMutablePointer<ub_result>?) {
  guard let data else { return }
  let query = Unmanaged<Query>.fromOpaque(data).takeRetainedValue()
  guard error == 0, let result else {
    query.resolver.finish(query.key, DNSAnswer(status: .unknown("resolver error \(error)")))
    return
  }
  query.resolver.finish(query.key, answer(result.pointee))
  ub_resolve_free(result)
}

private func answer(_ result: ub_result) -> DNSAnswer {
  let ttl = max(1, Int(result.ttl))
  if result.bogus != 0 {
    let why = result.why_bogus.map { String(cString: $0) } ?? "DNSSEC"
    return DNSAnswer(status: .unknown("bogus: \(why)"), ttl: ttl)
  }
  if result.nxdomain != 0 { return DNSAnswer(status: .noSuchName, ttl: ttl, isSecure: result.secure != 0) }
  guard result.rcode == 0 else { return DNSAnswer(status: .unknown("rcode \(result.rcode)"), ttl: ttl) }
  guard result.havedata != 0 else { return DNSAnswer(status: .noData, ttl: ttl, isSecure: result.secure != 0) }
  var records: [[UInt8]] = []
  var index = 0
  while let record = result.data[index] {
    let count = Int(result.len[index])
    record.withMemoryRebound(to: UInt8.self, capacity: count) {
      records.append(Array(UnsafeBufferPointer(start: $0, count: count)))
    }
    index += 1
  }
  return DNSAnswer(status: .found, records: records, ttl: ttl, isSecure: result.secure != 0)
}
