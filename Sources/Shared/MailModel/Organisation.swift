/// Names of organisations that are nobody's: no tenant may have one, or it would have what belongs to all or to us.
package enum Organisation {
  /// What suppression calls everybody.
  package static let everybody = "*"
  /// The operator's own mail, by `/send/system` alone (contract section 1.2).
  package static let system = "system"
  /// Mail to postmaster and abuse of our domains on its way to the person behind them. It was answered 250 and is nobody's mailing:
  /// no suppression, limit or breaker stands before it.
  package static let postmaster = "__postmaster__"

  /// Why a tenant cannot have this name, as it goes on after the field's; nil when it can.
  package static func objection(_ name: String) -> String? {
    switch name {
    case everybody: "must not be *"
    case system: "must not be system: system mail must use /send/system"
    case postmaster: "must not be \(postmaster): it is reserved"
    default: nil
    }
  }
}
