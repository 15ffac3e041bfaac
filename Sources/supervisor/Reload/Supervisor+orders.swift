import Logging
import MTAConfig
import Observability

extension Installation {
  /// The configuration with what operators ordered over it. Orders that do not fit the file any more are told and left out.
  static func ordered(_ file: MTAConfig, _ log: Logger) throws -> MTAConfig {
    let orders = try OperatorOrders.read(file.stateDir + "/operator.json")
    let (config, problems) = orders.over(file)
    for problem in problems { log.warning("an operator's order does not fit the configuration: \(problem.description)") }
    // Orders alone must not leave a host without IPs.
    return config.sourceIPs.isEmpty ? file : config
  }
}
