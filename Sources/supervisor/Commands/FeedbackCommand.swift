import ArgumentParser
import DeliveryPolicy
import Feedback
import Foundation

struct FeedbackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "feedback", abstract: "Mail that comes back: bounces, complaints, automatic answers.", subcommands: [Parse.self])

  struct Parse: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what the MTA understands of a mail that came back.",
      discussion: """
        Reads each file (`-` is standard input) as the inbound server would and changes nothing. With --json it prints one line a file, \
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
          let reason = (error as NSError).localizedDescription
          FileHandle.standardError.write(Data("\(file): \(reason)\n".utf8))
          continue
        }
        let feedback = FeedbackReport.read(octets)
        print(json ? Self.line(file, feedback) : Self.explanation(file, feedback))
      }
      if hasFailed { Foundation.exit(1) }
    }

    private static func octets(_ file: String) throws -> [UInt8] {
      if file == "-" { return [UInt8](try FileHandle.standardInput.readToEnd() ?? Data()) }
      return [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
    }
  }
}

extension FeedbackCommand.Parse {
  static func line(_ file: String, _ feedback: Feedback) -> String {
    var object: [String: Any] = [
      "file": file, "is_bounce": feedback.isBounce, "kind": feedback.kind.rawValue,
      "feedback_type": feedback.complaint?.type ?? NSNull(), "original_message_id": feedback.returned.messageID ?? NSNull(),
      "recipients": feedback.recipients.map(row), "hints": feedback.hints.map(hint),
    ]
    if let trait = feedback.trait { object["trait"] = trait.rawValue }
    if let complaint = feedback.complaint {
      object["original_recipient"] = complaint.originalRecipients.first ?? NSNull()
      object["original_recipients"] = complaint.originalRecipients
      object["original_sender"] = complaint.originalSender ?? NSNull()
      object["reported_domains"] = complaint.reportedDomains
      object["source_ip"] = complaint.sourceIP ?? NSNull()
      object["arrival_date"] = complaint.arrivalDate ?? NSNull()
      object["user_agent"] = complaint.userAgent ?? NSNull()
    }
    let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    return String(decoding: data ?? Data("{}".utf8), as: UTF8.self)
  }

  private static func row(_ recipient: Feedback.Recipient) -> [String: Any] {
    [
      "recipient": recipient.address, "original_recipient": recipient.original ?? NSNull(), "action": recipient.action.rawValue,
      "status": recipient.status ?? NSNull(), "category": recipient.replyClass.rawValue, "hardness": recipient.hardness.rawValue,
      "diagnostic": recipient.diagnostic,
    ]
  }

  private static func hint(_ hint: Feedback.Hint) -> [String: Any] {
    let (kind, value) = described(hint)
    return ["kind": kind, "value": value]
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
