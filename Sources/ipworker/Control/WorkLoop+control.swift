import ControlProtocol
import Logging
import MailModel
import NIOCore

/// Orders of the supervisor, each answered or obeyed here and nowhere else.
extension WorkLoop {
  func obey(_ order: ControlOrder) {
    switch order {
    case .hello(let hello):
      guard hello.version == controlProtocolVersion, hello.sourceIP == sourceIP else {
        log.error("the supervisor speaks another control protocol", metadata: ["version": "\(hello.version)"])
        return end(code: 1)
      }
    case .status: control?.send(.status(status()))
    case .pause: setPaused(true)
    case .resume: setPaused(false)
    case .drain(let milliseconds): drain(deadline: .now() + .milliseconds(Int64(milliseconds)))
    case .keys(let domain, let list): keys.receive(domain, list)
    case .keyRefused(let domain): keys.refuse(domain)
    case .forgetKey(let domain): keys.forget(domain)
    case .claimed(let question, _), .told(let question, _): questions.answer(question, order)
    case .redis(let username, let password): admit(username: username, password: password)
    }
  }

  /// SIGTERM: transactions end, nothing begins.
  func terminated() {
    log.notice("told to end")
    drain(deadline: .now() + .seconds(30))
  }

  /// The supervisor is gone: begin nothing, let what is past its dot end, be gone within 10 s (DESIGN section 5).
  func supervisorGone() {
    log.warning("control socket closed; ending")
    keys.failAll()
    questions.close()
    drain(deadline: .now() + .seconds(9))
  }
}
