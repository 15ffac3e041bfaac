/// Wordings of mail systems, in lower case with single spaces: data. A phrase is here because a family of software or a
/// language uses it, not for one message.
enum FeedbackWords {
  /// Names of senders of reports, in address or display name.
  static let reporters = [
    "mailer-daemon", "mailer_daemon", "mailerdaemon", "mail-daemon", "maildaemon", "mail daemon", "postmaster", "post_master",
    "mail delivery",
    "mail system",
    "mail subsystem", "delivery subsystem", "delivery system", "mail administrator", "system administrator", "mdaemon", "mailadmin",
    "email administrator", "delivery service", "mailsystem", "mail-system", "delivery notification", "delivery-notification",
    "internet mail delivery", "autoresponder@amazonses", "messagingserver",
    "mail gateway", "administrateur du système", "systemadministrator", "mailsweeper", "mailmarshal", "microsoft exchange",
    "delivery agent",
  ]

  /// Of ``reporters``, those who write nothing else.
  static let daemons = [
    "mailer-daemon", "mailer_daemon", "mailerdaemon", "mail-daemon", "maildaemon", "mail daemon", "mail delivery", "delivery subsystem",
  ]

  /// Before the subject of a mail that is handed on or answered.
  static let answerPrefixes = ["fwd", "fw:", "fw :", "wg:", "tr:", "tr :", "rv:", "i:", "vs:", "doorst:", "enc:", "re:", "aw:", "sv:"]

  static let bounceSubjects = [
    "undeliver", "failure notice", "returned mail", "delivery status notification", "delivery fail", "mail delivery", "delivery report",
    "non-deliver", "nondeliver", "non deliver", "not be delivered", "unable to deliver", "returned to sender", "return to sender",
    "mail system error", "user unknown", "failed mail", "delivery problem", "not delivered", "mail failure", "mail error", "mail failed",
    "problem delivering", "delivery notification", "delivery error", "couldn't be delivered", "could not deliver", "could not send",
    "message status", "rejected", "bounced", "bounce", "message delivery", "unknown user", "unknown recipient", "invalid recipient",
    "returned message", "message refused", "email returned", "delivery has failed", "dsn:", "warning: message", "mail not delivered",
    "mail message problem", "permanent error", "message blocked", "nobody's home", "not member", "error sending your mail", "nonmember",
    "unzustellbar", "nicht zustellbar", "fehlgeschlagen",
    "zustellung", "non remis", "échec de", "non distribué", "non délivré", "no se puede entregar", "no entregado", "no entregable",
    "devuelto", "mancato recapito", "non recapitabile", "impossibile recapitare", "não entregue", "falha na entrega",
    "onbestelbaar", "niet bezorgd", "недостав", "не доставлен", "ошибка доставки", "退信", "投递失败", "系统退信", "配信", "配送不能", "送信エラー",
    "宛先不明", "エラー通知", "배달", "전송 실패", "olevererbar", "kunde inte levereras", "kunne ikke leveres", "niedostarcz", "nedoručitel",
    "kézbesíthetetlen",
  ]

  /// What says that a message did not and will not arrive.
  static let failures = [
    "could not be delivered", "couldn't be delivered", "cannot be delivered", "can't be delivered", "can not be delivered",
    "could not be sent", "cannot be sent", "not be delivered", "wasn't delivered", "was not delivered", "were not delivered",
    "not delivered to", "not been delivered", "has not been delivered", "unable to deliver", "unable to be delivered", "undeliverable",
    "undelivered", "non-deliverable", "nondeliverable", "not deliverable", "failed to deliver", "failed to be delivered", "delivery failed",
    "delivery failure", "delivery has failed", "delivery to the following", "failed permanently", "permanent fatal error",
    "permanent error",
    "fatal error", "permanently failed", "permanent failure", "had delivery problem", "did not reach", "could not deliver",
    "couldn't deliver",
    "cannot deliver", "problems delivering", "problem delivering", "trouble delivering", "error delivering", "returned to you",
    "returned to sender", "being returned", "been returned", "is returned", "giving up", "given up", "user unknown", "unknown user",
    "no such user", "user not known", "delivery problem", "automatically rejected", "recipient unknown", "unknown recipient",
    "does not exist", "doesn't exist", "not found", "mailbox unavailable",
    "mailbox is full", "mailbox full", "over quota", "quota exceeded", "exceeded", "was rejected", "were rejected", "been rejected",
    "rejected by", "message rejected", "rejected your message", "rejected recipient", "refused", "bounced", "delivery error",
    "invalid recipient",
    "invalid address", "not accepted", "could not send", "couldn't send", "unable to send", "not sent", "did not receive",
    "not received by",
    "unrouteable", "unreachable", "undeliver", "has been blocked", "failed addresses", "the following recipient", "the following address",
    "following recipients", "no longer valid", "not a valid", "unable to relay", "relaying denied", "host unknown",
    "cannot send your message",
    "not able to deliver", "permanent negative", "not a member of", "trouble delivering", "error sending", "error occurred while",
    "error while sending", "transcript of session", "delivery attempt", "not deliver",
    "konnte nicht zugestellt", "nicht zugestellt", "unzustellbar", "fehlgeschlagen", "konnte nicht", "n'a pas pu", "impossible de",
    "non remis",
    "n'a pas été", "no se pudo", "no se ha podido", "no pudo ser", "rechazad", "impossibile", "non è stato", "não foi possível",
    "não pôde", "niet worden bezorgd", "kon niet", "не может быть доставлен", "не доставлен", "не удалось", "не существует", "не найден",
    "送信できません", "配信できません", "配信でき", "エラーのため", "存在しません", "見つかりません", "届きませんでした", "届けることができません", "お届けできません", "送信に失敗",
    "无法投递", "退回", "不存在", "被拒", "投递失败", "无法发送", "無法", "전송할 수 없", "전달할 수 없",
  ]

  static let delays = [
    "will keep trying", "will continue to try", "will continue trying", "keep trying", "still being retried", "will be retried",
    "will retry",
    "warning message only", "do not need to resend", "don't need to resend", "not need to resend", "delivery is delayed",
    "delivery delayed",
    "been delayed", "is delayed", "has been deferred", "delayed mail", "delivery attempts will continue",
    "attempts to deliver the message will",
    "not yet been delivered", "has not yet", "not yet delivered", "delivery will continue", "still trying", "continue to attempt",
    "will try to deliver", "will be attempted", "continue to be attempted", "transient non-fatal", "temporary non-fatal", "transient error",
    "no action is required on your part", "delivery incomplete", "incomplete delivery", "delivery status notification (delay)",
    "attempts will be made", "will attempt to deliver", "message is still in the queue", "will be tried again",
    "could not be delivered yet", "not been able to deliver", "will attempt delivery", "versuche werden fortgesetzt", "verzögert",
    "will try again", "remise différée", "retardada", "задерж", "遅延",
  ]

  /// What ends a delay notice's claim to be one.
  static let giveUps = [
    "giving up", "given up", "no longer trying", "will not be retried", "failed permanently", "permanent fatal errors", "permanent error",
    "permanently", "returned to sender", "message could not be delivered for", "has been removed from the queue", "too long",
    "no further attempts",
    "delivery failed", "undeliverable", "will not be re-sent", "time out",
  ]

  static let autoReplySubjects = [
    "out of office", "out of the office", "automatic reply", "auto reply", "auto-reply", "autoreply", "auto response", "auto-response",
    "autoresponse", "automated response", "automated reply", "automatic response", "auto:", "[auto", "vacation", "away from my mail",
    "away from the office", "on holiday", "on leave", "i am away", "i'm away", "is out of", "abwesenheit", "automatische antwort",
    "abwesend", "nicht im haus", "nicht im büro", "réponse automatique", "absence", "absent", "en vacances", "respuesta automática",
    "fuera de la oficina", "ausencia", "ausente", "risposta automatica", "fuori ufficio", "assente", "resposta automática",
    "fora do escritório",
    "férias", "automatisch antwoord", "afwezig", "autosvar", "frånvar", "fraværende", "automaattinen vastaus", "poissa",
    "automatyczna odpowiedź",
    "nieobecn", "automatická odpověď", "mimo kancelář", "automatikus válasz", "răspuns automat", "автоответ", "автоматический ответ",
    "вне офиса",
    "отпуск", "otomatik yanıt", "自動返信", "自動応答", "不在", "自动回复", "自动答复", "自動回覆", "부재중", "자동 회신", "自动回覆", "מענה אוטומטי", "رد تلقائي",
    "thank you for your mess", "thank you for your e-mail", "thank you for contacting", "i will be out", "i am out",
    "we have received your", "your message has been received", "ticket created", "αυτόματη απάντηση", "vakantie",
  ]

  static let challenges = [
    "please confirm your message", "confirm your e-mail", "confirm that you are a human", "sender verification", "verify your email",
    "verification required",
    "challenge", "one-time verification", "requires verification", "not on my guest list", "waiting list", "whitelist", "white list",
    "spamarrest", "spam arrest", "boxbe", "bluebottle", "earthlink.net/spamblocker", "spamblocker", "must confirm", "confirmation required",
    "tmda",
    "approved senders", "allowed senders", "click the link below to be added", "click on the link below to", "please click",
  ]

  /// A line that tells the returned message's begin.
  static let returnedMarks = [
    "copy of the message", "copy of your message", "original message", "returned message", "unsent message", "message header",
    "headers of your",
    "headers of the", "text of your message", "message follows", "headers follow", "header follows", "mail follows", "original mail",
    "included below",
    "message text follows", "message body follows", "undelivered message", "your message reads", "returned mail",
    "original header", "beginning of", "mail header", "message content", "returned text", "元のメッセージ", "元のメール",
    "ursprüngliche nachricht", "message d'origine", "mensaje original", "原邮件", "start of returned message",
    "content of the message",
    "message headers", "message/rfc822", "received message",
  ]

  /// Labels whose address is not a recipient.
  static let foreignLabels = [
    "from", "sender", "mail from", "reply-to", "contact", "postmaster", "received", "message-id", "return-path", "subject", "date",
    "helo", "ehlo", "for help", "email", "mail", "message from", "reporting-mta", "questions", "originator", "http", "https", "mailto",
    "references",
    "in-reply-to", "originally from", "sent by", "submitted by", "von", "expéditeur", "remitente", "mittente", "cc", "bcc", "id",
    "message id",
    "absender", "bounce address", "return path", "envelope-from", "envelope-sender", "envelope sender", "dsn sent to", "returned to",
    "x-envelope-from", "差出人",
    "发件人", "отправитель", "support", "administrator", "report to", "email us", "errors-to", "x-sender", "resent-from",
    "list-unsubscribe", "list-help", "list-post", "list-owner", "content-id", "thread-topic", "x-originating-email",
  ]

  /// Addresses that list software talks about.
  static let listRoles = ["-ctl", "-help", "-request", "-owner", "-admin", "-subscribe", "-unsubscribe", "-bounces", "-postmaster"]

  static let roles: Set<String> = [
    "postmaster", "mailer-daemon", "abuse", "webmaster", "hostmaster", "helpdesk", "support", "mailadmin", "info@", "admin",
    "postmasters", "noreply", "no-reply", "mailmaster", "sysadmin", "root", "nobody", "spam", "help", "removeme", "mail-daemon",
  ]
}
