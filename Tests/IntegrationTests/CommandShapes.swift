import TestSupport

/// What each command prints with `--json`: the contract with scripts.
enum CommandShapes {
  private static let ipStates: JSONShape = .oneOf(["provisioned", "warming", "active", "draining", "pulled", "probation"])

  private static let ips: JSONShape = .list(
    .object([
      "address": .text, "public": .text, "pool": .text, "ehlo": .text, "state": ipStates, "reason": .nullable(.text), "since": .time,
      "pid": .nullable(.integer), "warming": .nullable(.object(["day": .integer, "cap": .integer, "sent": .integer])),
    ]))

  private static let gate: JSONShape = .object([
    "scope": .oneOf(["installation", "ip", "lane", "domain", "organisation", "message"]), "key": .text,
    "reason": .oneOf([
      "throttle", "connections", "warming_cap", "warming_pacing", "provider_warming_cap", "breaker", "org_limit", "org_paused",
      "queue_paused", "connection_backoff", "smtp_response", "deferred", "scheduled", "no_eligible_ip", "blocklisted", "identity", "dns",
      "content", "redis",
    ]),
    "since": .nullable(.time), "until": .nullable(.time),
  ])

  private static let explanation: JSONShape = .object([
    "messageId": .text,
    "state": .oneOf([
      "queued", "scheduled", "dispatched", "deferred", "delivered", "bounced", "failed", "expired", "uncertain",
    ]),
    "gates": .list(gate), "nextAttemptAt": .nullable(.time), "position": .nullable(.integer),
  ])

  private static let entry: JSONShape = .object([
    "number": .text, "messageId": .text, "workAttemptId?": .text, "organizationId": .text, "recipient": .text, "pool": .text, "ip?": .text,
    "state": .oneOf(["delivered", "bounced", "failed", "expired", "uncertain"]), "reason?": .text, "acceptedAt": .time, "endedAt": .time,
    "attempts": .integer, "mx?": .text, "smtpCode?": .integer, "enhancedCode?": .text, "reply?": .list(.text), "tls?": .text,
    "messageIdHeader?": .text, "campaignId?": .text, "tags": .list(.text),
    "feedback?": .list(
      .object([
        "kind": .oneOf(["complained", "bounced", "unsubscribed"]), "at": .time, "message?": .text, "bounceType?": .text,
        "sourceIsp?": .text,
        "list?": .text,
      ])),
  ])

  private static let attempt: JSONShape = .object([
    "messageId": .text, "organizationId": .text, "attempt": .integer, "at": .time, "status": .text, "ip?": .text, "mx?": .text,
    "address?": .text, "stage?": .text, "smtpCode?": .integer, "enhancedCode?": .text, "reply?": .list(.text), "text?": .text,
    "tls?": .text, "durationMs": .integer,
  ])

  private static let done: JSONShape = .object([
    "count": .integer, "done": .integer,
    "sample": .list(
      .object([
        "id": .text, "messageId": .text, "organizationId": .text, "to": .text, "domain": .text, "ipPool": .text,
        "state": .oneOf(["queued", "scheduled", "deferred", "held", "dispatched", "uncertain"]), "attempts": .integer, "acceptedAt": .time,
        "nextAttemptAt?": .time, "campaignId?": .text,
      ])),
  ])

  private static let pauseScope: JSONShape = .oneOf(["org", "domain", "pool", "campaign", "tag"])
  private static let paused: JSONShape = .object(["scope": pauseScope, "name": .text, "held?": .integer])
  private static let resumed: JSONShape = .object(["scope": pauseScope, "name": .text, "released": .integer])
  private static let problem: JSONShape = .object(["key": .text, "line?": .integer, "text": .text])
  private static let address: JSONShape = .object(["email": .text, "organization": .text])

  /// By the words of the command.
  static let all: [String: JSONShape] = [
    "check-config": .object(["valid": .bool, "problems": .list(problem), "notices": .list(problem)]),
    "status": .object([
      "version": .text, "host": .text, "pid": .integer, "uptimeSeconds": .integer, "redis": .text, "queued": .integer, "groups": .integer,
      "dispatched": .integer, "accepted": .integer, "webhooksPending": .integer, "webhooksDead": .integer, "ips": .map(.integer),
      "sandbox": .bool,
    ]),
    "send": .object(["success": .bool, "id": .text, "workAttemptId": .text, "deduplicated?": .bool]), "ip list": ips, "ip pull": ips,
    "ip restore": ips, "ip warming": ips, "ip add": ips, "ip remove": ips, "ip drain": ips, "worker restart": ips,
    "reload": .object(["applied": .bool, "changes": .list(.text), "problems": .list(problem), "notices": .list(problem)]),
    "queue list": .list(
      .object([
        "domain": .text, "pool": .text, "organization": .text, "messages": .integer, "oldest": .time, "gates": .list(gate),
      ])),
    "queue explain": explanation, "queue pause": paused, "queue resume": resumed,
    "queue pauses": .list(.object(["scope": pauseScope, "name": .text, "since": .time, "reason?": .text])), "queue retry": done,
    "queue cancel": done, "queue flush": done, "message show": .list(.either(entry, explanation)), "message trace": .list(attempt),
    "message resend": .object(["messageId": .text, "state": .oneOf(["queued"]), "warning": .text]),
    "message drop": .object(["messageId": .text, "state": .oneOf(["failed"])]),
    "org pause": paused, "org resume": resumed,
    "suppression list": .list(
      .object(["email": .text, "reason": .text, "source?": .text, "suppressedAt": .time, "expiresAt?": .time])),
    "suppression add": address, "suppression remove": address,
    "dkim add": .object(["domain": .text, "selector": .text, "dnsRecord": .text, "dnsName": .text, "created": .bool]),
    "dkim list": .list(
      .object([
        "domain": .text, "selector": .text, "addedAt": .time, "rotatedAt": .time, "ed25519Selector?": .text, "organizationId?": .text,
      ])),
    "top": .object([
      "at": .time, "queued": .integer, "out": .integer,
      "ips": .list(
        .object([
          "address": .text, "state": ipStates, "delivered": .integer, "deferred": .integer, "bounced": .integer, "transactions": .integer,
          "connections": .integer,
        ])),
      "lanes": .list(
        .object([
          "lane": .text, "out": .integer, "window": .integer, "ratePerMinute": .number, "gate?": .text, "until?": .time,
        ])),
    ]),
    "breaker list": .object([
      "breakers": .list(
        .object([
          "organizationId": .text, "provider": .nullable(.text), "state": .oneOf(["closed", "open", "half-open"]),
          "until": .nullable(.time), "bounceRate": .number, "complaintRate": .number,
        ]))
    ]),
    "breaker reset": .object(["organizationId": .text, "state": .oneOf(["closed"])]),
    "simulate": .object([
      "seed": .integer, "messages": .integer, "delivered": .integer, "bounced": .integer, "expired": .integer, "left": .integer,
      "late": .integer, "clearedAt": .nullable(.integer), "doneAt": .nullable(.integer), "providers": .list(.text),
      "longestWait": .map(.integer), "stops": .map(.map(.integer)),
      "days": .list(
        .object([
          "day": .integer, "arrived": .integer, "delivered": .integer, "bounced": .integer, "expired": .integer,
          "deferrals": .map(.integer), "held": .map(.integer), "left": .integer,
          "ips": .list(
            .object([
              "ip": .text, "phase": .text, "warmingDay": .integer, "cap": .nullable(.integer), "campaignCeiling": .nullable(.integer),
              "attempts": .integer, "campaignAttempts": .integer, "delivered": .integer,
              "providers": .map(
                .object([
                  "attempts": .integer, "delivered": .integer, "bounced": .integer, "deferred": .integer, "cap": .nullable(.integer),
                ])),
            ])),
        ])),
      "events": .list(.object(["at": .integer, "ip?": .text, "sender?": .text, "text": .text])),
    ]),
    "backup": .object(["path": .text, "at": .time, "final": .bool, "files": .integer, "bytes": .integer]),
    "restore": .object([
      "from": .text, "into": .text, "at": .time, "final": .bool, "messages": .integer, "paused": .list(.text),
    ]),
    "import upstream": .object([
      "applied": .bool,
      "kinds": .list(
        .object([
          "kind": .oneOf(["dkim", "suppression", "credentials", "poolRules", "warming"]), "found": .integer, "imported": .integer,
          "skipped": .integer, "faults": .list(.text),
        ])),
      "left": .list(.object(["what": .text, "count": .integer])),
    ]),
    "classify": .object([
      "reply": .text, "category": .text, "class": .oneOf(["permanent", "temporary"]), "scope": .text, "reaction": .text, "rule": .text,
      "pauseSeconds?": .integer, "statedWaitSeconds?": .integer,
    ]),
    "feedback parse": .object([
      "file": .text, "is_bounce": .bool, "kind": .text, "trait?": .text, "feedback_type": .nullable(.text),
      "original_message_id": .nullable(.text), "original_recipient?": .nullable(.text), "original_recipients?": .list(.text),
      "original_sender?": .nullable(.text), "reported_domains?": .list(.text), "source_ip?": .nullable(.text),
      "arrival_date?": .nullable(.text), "user_agent?": .nullable(.text),
      "hints": .list(.object(["kind": .text, "value": .text, "sureness": .text])),
      "recipients": .list(
        .object([
          "recipient": .text, "original_recipient": .nullable(.text),
          "action": .oneOf(["failed", "delayed", "delivered", "relayed", "expanded"]),
          "status": .nullable(.text), "category": .text, "hardness": .oneOf(["hard", "soft"]), "diagnostic": .text,
        ])),
    ]),
  ]
}
