import ArgumentParser
import DeliveryPolicy
import Feedback
import Foundation
import MailModel

struct FeedbackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "feedback", abstract: "Mail that comes back: bounces, complaints, automatic answers.", subcommands: [Parse.self])

  struct Parse: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what the MTA understands of a mail that came back.",
      discussion: """
        Reads each file (`-` is standard input) and changes nothing. With --json it prints one line a file, \
        in order. A file that cannot be read is named on standard error, the others are still shown, and the exit code is 1.

        Example: supervisor feedback parse bounce.eml
        """)
    @Argument(help: "Mails as they came, in any line ends.") var files: [String]
    @Flag(help: "One JSON object a line.") var json = false

    func run() {
      var hasFailed = false
      for file in files {
        let octets: [UInt8]
        do {
          octets = try Self.octets(file)
        } catch {
          hasFailed = true
          let reason = Self.isFolder(file) ? "is a folder" : (error as NSError).localizedDescription
          FileHandle.standardError.write(Data("\(file): \(reason)\n".utf8))
          continue
        }
        let feedback = FeedbackReport.read(octets)
        print(json ? Self.line(file, feedback) : Self.explanation(file, feedback))
      }
      if hasFailed { Foundation.exit(1) }
    }

    private static func isFolder(_ file: String) -> Bool {
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: file, isDirectory: &isFolder) && isFolder.boolValue
    }

    private static func octets(_ file: String) throws -> [UInt8] {
      if file == "-" { return [UInt8](try FileHandle.standardInput.readToEnd() ?? Data()) }
      return [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
    }
  }
}

extension FeedbackCommand.Parse {
  static func line(_ file: String, _ feedback: Feedback) -> String {
    var object = JSONObject([
      ("file", .text(file)), ("is_bounce", .bool(feedback.isBounce)), ("kind", .text(feedback.kind.rawValue)),
      ("feedback_type", optional(feedback.complaint?.type)), ("original_message_id", optional(feedback.returned.messageID)),
      ("recipients", JSONObject.list(feedback.recipients.map(row))), ("hints", JSONObject.list(feedback.hints.map(hint))),
    ])
    object.add("trait", feedback.trait?.rawValue)
    if let complaint = feedback.complaint {
      object.fields += [
        ("original_recipient", optional(complaint.originalRecipients.first)),
        ("original_recipients", JSONObject.list(complaint.originalRecipients)),
        ("original_sender", optional(complaint.originalSender)), ("reported_domains", JSONObject.list(complaint.reportedDomains)),
        ("source_ip", optional(complaint.sourceIP)), ("arrival_date", optional(complaint.arrivalDate)),
        ("user_agent", optional(complaint.userAgent)),
      ]
    }
    return object.string
  }

  private static func optional(_ text: String?) -> JSONObject.Value { text.map { .text($0) } ?? .raw("null") }

  private static func row(_ recipient: Feedback.Recipient) -> JSONObject {
    JSONObject([
      ("recipient", .text(recipient.address)), ("original_recipient", optional(recipient.original)),
      ("action", .text(recipient.action.rawValue)), ("status", optional(recipient.status)),
      ("category", .text(recipient.replyClass.rawValue)), ("hardness", .text(recipient.hardness.rawValue)),
      ("diagnostic", .text(recipient.diagnostic)),
    ])
  }

  private static func hint(_ hint: Feedback.Hint) -> JSONObject {
    let (kind, value) = described(hint)
    return JSONObject([("kind", .text(kind)), ("value", .text(value)), ("sureness", .text(hint.sureness.rawValue))])
  }

  private static func described(_ hint: Feedback.Hint) -> (String, String) {
    switch hint {
    case .returnPath(let value): ("return_path", value)
    case .envelopeID(let value): ("envelope_id", value)
    case .cfblFeedbackID(let value): ("cfbl_feedback_id", value)
    case .feedbackID(let value): ("feedback_id", value)
    case .messageID(let value): ("message_id", value)
    case .recipient(let value): ("recipient", value)
    }
  }

  /// For people: the mail is a stranger's, so control characters stay out of the terminal.
  static func explanation(_ file: String, _ feedback: Feedback) -> String {
    var lines = ["\(file): \(feedback.kind.rawValue)\(feedback.trait.map { " (\($0.rawValue))" } ?? "")"]
    if let complaint = feedback.complaint {
      lines.append("  type:      \(complaint.type)")
      if !complaint.originalRecipients.isEmpty { lines.append("  about:     \(complaint.originalRecipients.joined(separator: ", "))") }
      if let ip = complaint.sourceIP { lines.append("  source IP: \(ip)") }
      if let agent = complaint.userAgent { lines.append("  from:      \(agent)") }
    }
    for recipient in feedback.recipients {
      lines.append(
        "  \(recipient.address): \(recipient.action.rawValue), \(recipient.replyClass.rawValue), \(recipient.hardness.rawValue)\(recipient.status.map { ", \($0)" } ?? "")"
      )
      if !recipient.diagnostic.isEmpty { lines.append("    \(recipient.diagnostic)") }
    }
    for hint in feedback.hints {
      let (kind, value) = described(hint)
      lines.append("  \(kind): \(value)")
    }
    return lines.map { line in
      String(String.UnicodeScalarView(line.unicodeScalars.map { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) ? " " : $0 }))
    }.joined(separator: "\n")
  }
}
