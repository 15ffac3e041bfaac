/// Names of organisations that are nobody's: no tenant may have one, or it would have what belongs to all or to us.
package enum Organisation {
  /// What suppression calls everybody.
  package static let everybody = "*"
  /// The operator's own mail, by `/send/system` alone (contract section 1.2).
  package static let system = "system"
  /// People's own mailboxes, by `/send/postbox` alone, which binds each request's author (contract section 1.2).
  package static let postbox = "postbox"
  /// What comes by the submission port under the master key (contract section 12.3).
  package static let master = "__master__"
  /// Mail to postmaster and abuse of our domains on its way to the person behind them. It was answered 250 and is nobody's mailing:
  /// no suppression, limit or breaker stands before it.
  package static let postmaster = "__postmaster__"

  /// Mail that no tenant can send: it may be from any of our domains.
  package static func isOperators(_ name: String) -> Bool { [system, postbox, master, postmaster].contains(name) }

  /// Why a tenant cannot have this name, as it goes on after the field's; nil when it can.
  package static func objection(_ name: String) -> String? {
    switch name {
    case everybody: "must not be *"
    case system: "must not be system: system mail must use /send/system"
    case postbox: "must not be postbox: Postbox mail must use /send/postbox"
    case master: "must not be \(master): it is reserved"
    case postmaster: "must not be \(postmaster): it is reserved"
    default: nil
    }
  }
}
