import Foundation
import MTAConfig

/// The one screen of a sandbox start: where the API is, the key, a first send, how to watch.
enum Welcome {
  static func print(_ config: MTAConfig, configPath: String) {
    let tempers = SandboxPersonalities.list.map { prefix, what in
      "    \((prefix + "…@").padding(toLength: 14, withPad: " ", startingAt: 0)) \(what)"
    }.joined(separator: "\n")
    Swift.print(
      """

        Owlat MTA, sandbox: no mail can leave this host; the built-in sink plays every MX.

        API      http://\(config.api.listen)     key  \(config.api.masterKey)
        IPs      \(config.sourceIPs.map(\.address).joined(separator: ", "))

        First send:

          curl -s http://\(config.api.listen)/dkim/example.org/register -X POST -H 'Authorization: Bearer \(config.api.masterKey)'
          curl -s http://\(config.api.listen)/send -H 'Authorization: Bearer \(config.api.masterKey)' \\
            -H 'Content-Type: application/json' -d '{"messageId":"first-1","to":"you@example.com",
            "from":"Me <me@example.org>","subject":"Hello","text":"It works.","ipPool":"transactional",
            "organizationId":"acme","dkimDomain":"example.org"}'

        The sink's temper goes by the recipient:

      \(tempers)
          anything else  accepted

        Watch (in another terminal; `supervisor` is .build/release/supervisor):

          supervisor status --config \(configPath)
          supervisor ip list --config \(configPath)
          supervisor queue explain first-1 --config \(configPath)
          supervisor message show first-1 --config \(configPath)

        Webhooks are printed below as they come. Ctrl-C ends everything.

      """)
    fflush(nil)
  }
}
