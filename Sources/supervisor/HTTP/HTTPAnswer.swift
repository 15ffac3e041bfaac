import Foundation
import Hummingbird
import MailModel
import NIOCore

/// An answer of the API before it is put on the wire: JSON text, in the order its keys were written.
struct HTTPAnswer: Sendable {
  var status: HTTPResponse.Status
  var body: String
  var contentType = "application/json"
  var retryAfterSeconds: Int?
  var allow: String?

  init(_ status: HTTPResponse.Status = .ok, _ body: String) {
    self.status = status
    self.body = body
  }

  init(_ error: APIError) {
    status = HTTPResponse.Status(code: error.status)
    var text = JSONObject([("error", .text(error.text))])
    if let code = error.code { text.fields.append(("code", .text(code))) }
    if error.code == "INTAKE_PENDING" { text.fields.append(("retryAfterMs", .number(1000))) }
    body = text.string
    retryAfterSeconds = error.retryAfterSeconds
  }

  /// - Throws: never for our own values; an encoding failure is answered as 500.
  init(encoding value: some Encodable, status: HTTPResponse.Status = .ok) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    if let data = try? encoder.encode(value) {
      self.init(status, String(decoding: data, as: UTF8.self))
    } else {
      self.init(APIError(status: 500, text: "Internal Server Error"))
    }
  }

  var response: Response {
    var headers: HTTPFields = [.contentType: contentType]
    if let retryAfterSeconds { headers[.retryAfter] = String(retryAfterSeconds) }
    if let allow { headers[.allow] = allow }
    return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(string: body)))
  }
}

/// A JSON object whose keys keep their order: upstream's clients compare bytes.
struct JSONObject: Sendable {
  enum Value: Sendable {
    case text(String)
    case number(Int64)
    case bool(Bool)
    /// JSON as it stands.
    case raw(String)
  }

  var fields: [(String, Value)]

  init(_ fields: [(String, Value)]) { self.fields = fields }

  var string: String {
    "{"
      + fields.map { name, value in
        let text =
          switch value {
          case .text(let text): JSONText.quoted(text)
          case .number(let number): String(number)
          case .bool(let flag): flag ? "true" : "false"
          case .raw(let json): json
          }
        return "\(JSONText.quoted(name)):\(text)"
      }.joined(separator: ",") + "}"
  }
}
