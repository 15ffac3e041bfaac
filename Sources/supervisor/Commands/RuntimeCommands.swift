import ControlProtocol
import MTAConfig
import MailModel
import Observability

/// Orders that change the running installation: the configuration, which IPs there are, which worker runs.
struct RuntimeCommands: Sendable {
  let reload: Reload
  let fleet: Fleet
  let config: ConfigInForce

  /// The commands that ``document(_:_:)`` answers.
  static let names: Set<String> = ["reload", "ip add", "ip remove", "ip drain", "worker restart"]

  func document(_ request: AdminRequest, _ progress: AdminProgress) async throws -> String {
    let arguments = request.arguments
    let address = arguments["address"] ?? ""
    switch request.command {
    case "reload": return HTTPAnswer(encoding: await reload.reload()).body
    case "ip add":
      let added = try await reload.add(
        OperatorOrders.NewIP(
          address: address, pool: arguments["pool"] ?? "", ehlo: arguments["ehlo"], public: arguments["public"],
          warmed: arguments["warmed"].map { $0 == "true" }))
      return await rows(added)
    case "ip remove":
      _ = try await reload.remove(address)
      return HTTPAnswer(encoding: await fleet.list()).body
    case "ip drain":
      guard try await fleet.drain(address, reason: arguments["reason"] ?? "operator: drained") else { throw Self.unknown(address) }
      return await rows(address)
    default: return try await restart(address.isEmpty ? config.sourceIPs.map(\.address) : [address], isAll: address.isEmpty, progress)
    }
  }

  /// One after the other: the next only when the one before takes mail again.
  private func restart(_ addresses: [String], isAll: Bool, _ progress: AdminProgress) async throws -> String {
    for (index, address) in addresses.enumerated() {
      switch await fleet.restart(address) {
      case nil: if !isAll { throw Self.unknown(address) }
      case .idle?: if !isAll { throw APIError(status: 409, text: "\(address) has no worker that could be restarted: see `ip list`") }
      case .late?: throw APIError(status: 500, text: "the new worker of \(address) is not ready after a minute; the others were left alone")
      case .done?: break
      }
      progress.tell(index + 1)
    }
    return isAll ? HTTPAnswer(encoding: await fleet.list()).body : await rows(addresses[0])
  }

  private func rows(_ address: String) async -> String {
    let canonical = IPAddress.canonical(address)
    return HTTPAnswer(encoding: await fleet.list().filter { $0.address == canonical }).body
  }

  static func unknown(_ address: String) -> APIError {
    APIError(status: 404, text: "\(address) is not an address of this installation")
  }
}
