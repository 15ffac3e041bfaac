/// How each server is told what the tests want of it: its files, what belongs to whom, and how it starts.
struct PeerSetup {
  /// Path inside the root → text.
  var files: [String: String]
  /// Shell commands; `$1` is the root.
  var script: String
  /// Program and arguments as seen from inside the root.
  var command: [String]

  /// Numbers of our own: these users exist in the root only.
  private static let users = ["postfix": 901, "postdrop": 902, "Debian-exim": 903, "opensmtpd": 904, "opensmtpq": 905, "box": 906]

  init(_ program: PeerMTA.Program, _ options: PeerMTA.Options, port: Int, domains: [String]) {
    switch program {
    case .postfix: self = Self.postfix(options, port, domains)
    case .exim: self = Self.exim(options, port, domains)
    case .opensmtpd: self = Self.opensmtpd(options, port, domains)
    }
    let users = Self.users.sorted { $0.value < $1.value }
    files["etc/passwd"] =
      "root:x:0:0::/:/bin/sh\n" + users.map { "\($0.key):x:\($0.value):\($0.value)::/mail:/bin/sh\n" }.joined()
      + "nobody:x:65534:65534::/mail:/bin/sh\n"
    files["etc/group"] =
      "root:x:0:\nmail:x:8:\n" + users.map { "\($0.key):x:\($0.value):\n" }.joined() + "nogroup:x:65534:\n"
    files["etc/hosts"] = "127.0.0.1 localhost\n127.0.0.21 sender.peer.example\n"
    files["etc/nsswitch.conf"] = "passwd: files\ngroup: files\nhosts: files\n"
    files["etc/resolv.conf"] = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
  }

  private init(files: [String: String], script: String, command: [String]) {
    self.files = files
    self.script = script
    self.command = command
  }

  private static func postfix(_ options: PeerMTA.Options, _ port: Int, _ domains: [String]) -> PeerSetup {
    let discarded = (options.pipelining ? [] : ["pipelining"]) + (options.chunking ? [] : ["chunking"])
    let tls =
      options.startTLS
      ? "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /etc/tls.crt\nsmtpd_tls_key_file = /etc/tls.key\n"
      : "smtpd_tls_security_level = none\n"
    let main = """
      compatibility_level = 3.6
      myhostname = postfix.peer.example
      mydestination =
      alias_maps =
      alias_database =
      biff = no
      inet_interfaces = 127.0.0.1
      inet_protocols = ipv4
      mynetworks = 127.0.0.255/32
      maillog_file = /var/log/mail.log
      smtpd_peername_lookup = no
      smtpd_client_connection_count_limit = 0
      smtpd_relay_restrictions = reject_unauth_destination
      smtpd_recipient_restrictions = reject_unauth_pipelining
      smtpd_data_restrictions = reject_unauth_pipelining
      smtpd_discard_ehlo_keywords = \(discarded.joined(separator: ", "))
      virtual_mailbox_domains = \(domains.joined(separator: ", "))
      virtual_mailbox_base = /mail
      virtual_mailbox_maps = regexp:/etc/postfix/boxes
      virtual_uid_maps = static:906
      virtual_gid_maps = static:906

      """
    let returning = """
      transport_maps = regexp:/etc/postfix/transport
      queue_run_delay = 2s
      minimal_backoff_time = 1s
      delay_warning_time = 1s

      """
    let transport = options.returns.map { domain, port in
      """
      /^late.*@/ gone:
      /^slow.*@/ busy:
      /@\(domain.replacing(".", with: "\\."))$/ smtp:[127.0.0.1]:\(port)

      """
    }
    let master = """
      \(port) inet n - n - - smtpd
      cleanup unix n - n - 0 cleanup
      qmgr unix n - n 300 1 qmgr
      tlsmgr unix - - n 1000? 1 tlsmgr
      rewrite unix - - n - - trivial-rewrite
      bounce unix - - n - 0 bounce
      defer unix - - n - 0 bounce
      trace unix - - n - 0 bounce
      flush unix n - n 1000? 0 flush
      proxymap unix - - n - - proxymap
      error unix - - n - - error
      retry unix - - n - - error
      virtual unix - n n - - virtual
      smtp unix - - n - - smtp
      gone unix - n n - - pipe
        user=box argv=/bin/sh -c {echo 5.1.1 the mailbox is gone; exit 67}
      busy unix - n n - - pipe
        user=box argv=/bin/sh -c {echo 4.2.0 the mailbox is busy; exit 75}
      anvil unix - - n - 1 anvil
      postlog unix-dgram n - n - 1 postlogd

      """
    return PeerSetup(
      files: [
        "etc/postfix/main.cf": main + tls + (transport == nil ? "" : returning), "etc/postfix/master.cf": master,
        "etc/postfix/boxes": "!/^unknown/ box/\n", "etc/postfix/transport": transport ?? "",
      ],
      script: """
        cd "$1"
        mkdir -p var/lib/postfix var/spool/postfix
        # A file of this very second is read again and again, until it is older: it might still be written to.
        touch -d 2026-01-01 etc/postfix/*
        chown 906:906 mail
        chown 901 var/lib/postfix
        cd var/spool/postfix
        mkdir -p pid public maildrop
        for folder in incoming active deferred bounce defer trace flush hold corrupt saved private; do
          mkdir -p -m 700 $folder
          chown 901 $folder
        done
        chown 901:902 public maildrop
        chmod 710 public
        chmod 1730 maildrop
        """,
      // -d: stay in this process group.
      command: ["/usr/lib/postfix/sbin/master", "-d"])
  }

  private static func exim(_ options: PeerMTA.Options, _ port: Int, _ domains: [String]) -> PeerSetup {
    func everybody(_ offered: Bool) -> String { offered ? "*" : "" }
    let tls = options.startTLS ? "tls_certificate = /etc/tls.crt\ntls_privatekey = /etc/tls.key\n" : ""
    let main = """
      primary_hostname = exim.peer.example
      daemon_smtp_ports = \(port)
      local_interfaces = 127.0.0.1
      domainlist here = \(domains.joined(separator: " : "))
      acl_smtp_rcpt = rcpt
      host_lookup =
      rfc1413_query_timeout = 0s
      keep_environment =
      smtp_accept_max = 0
      smtp_accept_queue_per_connection = 0
      deliver_drop_privilege = true
      log_selector = +pipelining
      pipelining_advertise_hosts = \(everybody(options.pipelining))
      chunking_advertise_hosts = \(everybody(options.chunking))
      tls_advertise_hosts = \(everybody(options.startTLS))
      dsn_advertise_hosts = *
      smtputf8_advertise_hosts = *

      """
    let back = options.returns.map { domain, port in
      (
        routers: """
        back:
          driver = manualroute
          domains = \(domain)
          route_list = * 127.0.0.1
          self = send
          transport = out
        late:
          driver = redirect
          local_parts = ^late
          allow_fail
          no_verify
          data = :fail: the mailbox is gone
        slow:
          driver = redirect
          local_parts = ^slow
          allow_defer
          no_verify
          data = :defer: the mailbox is busy

        """,
        transports: "out:\n  driver = smtp\n  port = \(port)\n  allow_localhost\n  hosts_try_fastopen =\n",
        retry: "begin retry\n* * F,1h,2s\n"
      )
    }
    let rest = """
      begin acl
      rcpt:
        require domains = +here
        require verify = recipient
        accept control = dkim_disable_verify
      begin routers
      \(back?.routers ?? "")all:
        driver = accept
        local_parts = !^unknown
        transport = box
      begin transports
      \(back?.transports ?? "")box:
        driver = appendfile
        maildir_format
        directory = /mail/box
        user = Debian-exim
        group = Debian-exim
        delivery_date_add
        envelope_to_add
        return_path_add

      """
    let delays = back == nil ? "" : "delay_warning = 1s\n"
    return PeerSetup(
      files: ["etc/exim4/exim4.conf": main + tls + delays + rest + (back?.retry ?? "")],
      script: """
        cd "$1"
        mkdir -p var/spool/exim4 var/log/exim4
        chown 903:903 mail var/spool/exim4 var/log/exim4
        if [ -e etc/tls.key ]; then chown 903 etc/tls.key; fi
        """,
      command: ["/usr/sbin/exim4", "-bdf", back == nil ? "-q1m" : "-q2s"])
  }

  private static func opensmtpd(_ options: PeerMTA.Options, _ port: Int, _ domains: [String]) -> PeerSetup {
    let keys = options.startTLS ? "pki peer cert \"/etc/tls.crt\"\npki peer key \"/etc/tls.key\"\n" : ""
    let names = domains.map { "\"\($0)\"" }.joined(separator: ", ")
    let main = """
      table boxes { "@" = "box" }
      listen on 127.0.0.1 port \(port) hostname opensmtpd.peer.example \(options.startTLS ? "tls pki peer" : "")
      action "keep" maildir "/mail/box" virtual <boxes>
      match from any for rcpt-to regex "^unknown.*@" reject
      match from any for domain { \(names) } action "keep"

      """
    return PeerSetup(
      files: ["etc/smtpd.conf": keys + main],
      script: """
        cd "$1"
        chmod 600 etc/smtpd.conf
        chown 906:906 mail
        """,
      command: ["/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"])
  }
}
