internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import Synchronization

/// One webhook as it came.
package struct ReceivedWebhook: Sendable {
  package var headers: [String: String]
  package var body: String
  package var fields: [String: String]

  package var event: String { fields["event"] ?? "" }
  package var messageID: String { fields["messageId"] ?? "" }
}

/// An HTTP server that takes webhooks; what it answers can be changed while it runs.
package final class WebhookReceiver: Sendable {
  package let port: Int
  private let received = Mutex<[ReceivedWebhook]>([])
  private let status = Mutex(200)
  private let task = Mutex<Task<Void, Never>?>(nil)

  package init() throws { port = try freePort() }

  package var url: String { "http://127.0.0.1:\(port)/hook" }
  package var all: [ReceivedWebhook] { received.withLock { $0 } }

  package func messageIDs(_ event: String) -> [String] { all.filter { $0.event == event }.map(\.messageID) }

  /// From now on every webhook is answered so.
  package func answer(_ code: Int) { status.withLock { $0 = code } }

  package func start() async throws {
    let responder = CallbackResponder { (request: Request, _: BasicRequestContext) in
      let body = String(buffer: try await request.body.collect(upTo: 1 << 20))
      var headers: [String: String] = [:]
      for field in request.headers { headers[field.name.rawName.lowercased()] = field.value }
      let object = (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:]
      let code = self.status.withLock { $0 }
      if code / 100 == 2 {
        self.received.withLock {
          $0.append(ReceivedWebhook(headers: headers, body: body, fields: object.mapValues { "\($0)" }))
        }
      }
      return Response(status: .init(code: code))
    }
    var quiet = Logger(label: "receiver")
    quiet.logLevel = .critical
    let application = Application(
      responder: responder, configuration: .init(address: .hostname("127.0.0.1", port: port)), logger: quiet)
    let running = Task { do { try await application.run() } catch {} }
    task.withLock { $0 = running }
  }

  package func stop() { task.withLock { $0?.cancel() } }
}
