/// Zones of the scenarios: mail hosts that all live on loopback.
package enum Zones {
  /// `d0.example` … each with its own MX, which is the sink.
  package static func separate(_ count: Int) -> [String: [String]] {
    var records: [String] = []
    for index in 0..<count {
      records.append("d\(index) IN MX 10 mx\(index)")
      records.append("mx\(index) IN A 127.0.0.1")
    }
    return ["test-zone.example": records]
  }

  package static func domain(_ index: Int) -> String { "d\(index).test-zone.example" }

  /// Domains that are all hosted by one provider.
  package static func hosted(_ count: Int, mx: String) -> [String: [String]] {
    let parts = mx.split(separator: ".", maxSplits: 1)
    return [
      "test-zone.example": (0..<count).map { "d\($0) IN MX 10 \(mx)." },
      String(parts[1]): ["\(parts[0]) IN A 127.0.0.1"],
    ]
  }
}
