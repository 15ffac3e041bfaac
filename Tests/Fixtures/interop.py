"""Makes mail of every shape that other servers may stumble over, and judges what came out of their mailboxes.

interop.py make COUNT FILE            FILE: one request a line, PATH, a tab, the body; the same for the same COUNT. Beside COUNT
                                      messages m-…, one more in 20 is r-…, to unknown…@, and one in 50 is i-…, to grüße…@
interop.py check FILE MAILDIR RECORD  a message of FILE is good when it is in MAILDIR exactly once, verifies with dkimpy against
                                      the DNS record, is without defect to Python's email parser and carries what was posted;
                                      prints {good: how many, wrong: ids, missing: ids, encrypted: how many came by TLS}, and on
                                      standard error what is wrong
"""
import base64
import collections
import email
import email.errors
import email.headerregistry
import email.policy
import functools
import json
import multiprocessing
import os
import pathlib
import random
import re
import sys

WORDS = "plain Grüße 日本語 emoji👩‍👩‍👧‍👦 кириллица =?utf-8?q?no?= a\"b\\c عربى x,y;z <tag> 100% . .. From -- = e\u0301 ﬁ \t".split(" ")


def prose(dice, count, separators):
    return "".join(dice.choice(WORDS) + dice.choice(separators) for _ in range(count))


def octets(dice, count):
    return base64.b64encode(dice.randbytes(count)).decode()


def plain(body, dice):
    body["text"] = "Hi " + prose(dice, 5, [" ", "\n"])


def both(body, dice):
    body["text"] = prose(dice, 60, [" ", "\n", "\r\n", "\n\n"])
    body["html"] = "<html><body><p>" + prose(dice, 80, [" ", "<br>\n"]) + "</p></body></html>"
    body["subject"] = "Grüße " + prose(dice, 12, [" "]).replace("\t", "").strip()
    body["from"] = "Größe & Söhne, 東京 <news@sender.example>"


def long_lines(body, dice):
    body["text"] = "x" * 20_000 + "\n" + "é" * 3_000 + "\n" + "." * 2_000
    body["html"] = "<p>" + "long " * 5_000 + "</p>"


def dots(body, dice):
    lines = [".", "..", "...", ".a", "..b", "", ". ", " .", "a.", ".\t", "QUIT", "BDAT 0 LAST"]
    body["text"] = ".\n.\n\n" + "\n".join(dice.choice(lines) for _ in range(200)) + "\n."
    body["html"] = "." + "\r\n.\r\n.".join(dice.choice(lines) for _ in range(200)) + "\r\n.\r\n"


def attached(body, dice):
    body["text"] = "See attachment."
    body["attachments"] = [
        {"filename": "Übersicht 日本.bin", "contentType": "application/octet-stream", "content": octets(dice, 3_000)},
        {"filename": "empty.txt", "contentType": "text/plain", "content": ""},
    ]


def large(body, dice):
    body["text"] = prose(dice, 14_000, [" ", "\n", " ", "\n."])
    body["text"] += "z" * max(0, 100_000 - len(body["text"].encode()))


def inline(body, dice):
    body["html"] = '<p>An image: <img src="cid:img1@x.example"></p>' + prose(dice, 20, [" "])
    body["attachments"] = [
        {"filename": "i.png", "contentType": "image/png", "content": octets(dice, 5_000), "contentId": "img1@x.example", "disposition": "inline"},
        {"filename": "b.pdf", "contentType": "application/pdf", "content": octets(dice, 20_000)},
    ]


def spaces(body, dice):
    body["text"] = "\n\nFrom me\n>From you\n trailing \t \n\t\n" + prose(dice, 40, [" \n", "\t\n", "\nFrom ", "\n\n\n"]) + "\n\n\n"


def fields(body, dice):
    body["html"] = "<h1>No text part</h1><ul>" + "".join(f"<li>{prose(dice, 3, [' '])}</li>" for _ in range(30)) + "</ul>"
    body["amp"] = "<!doctype html><html ⚡4email><body>" + prose(dice, 9, [" "]) + "</body></html>"
    body["replyTo"] = "answers@sender.example"
    body["headers"] = {
        "List-Unsubscribe": "<https://u.example/" + "x" * dice.randrange(700) + ">, <mailto:u@u.example>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "X-Thing": prose(dice, 30, [" "]).replace("\t", "").strip(),
        "In-Reply-To": "<a.b@x.example>",
        "References": " ".join(f"<{index}.ref@x.example>" for index in range(30)),
    }


def sealed(body, dice):
    """A finished message: lines of 998 octets, 8-bit octets, dots, and the last line ended or not."""
    number = body["messageId"]
    lines = [
        "From: Sealed <news@sender.example>", f"To: {body['to']}", "Subject: ...", "Date: Tue, 24 Nov 2026 12:00:00 +0000",
        f"Message-ID: <{number}@sender.example>", f"X-Owlat-Message-Id: {number}", "MIME-Version: 1.0",
        'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";', '\tboundary="b"', "", ".preamble", "--b",
        "Content-Type: application/pgp-encrypted", "", "Version: 1", "--b", "Content-Type: application/octet-stream",
        "Content-Transfer-Encoding: 8bit", "",
    ]
    choices = [".", "..", ".x", "", " ", "From me", "Grüße " * 20, "日" * 300, "y" * 998, "." * 998, "trailing  ", "\t"]
    lines += [dice.choice(choices) for _ in range(dice.randrange(10, 80))] + ["--b--"]
    text = "\r\n".join(lines) + dice.choice(["\r\n", "", "\r\n.\r\n", "\r\n\r\n\r\n", "\r\n."])
    body |= {
        "organizationId": "postbox", "allowedFromAddresses": ["news@sender.example"], "subject": "...", "text": "sealed",
        "sealedMimeBase64": base64.b64encode(text.encode()).decode(),
    }


def huge(body, dice):
    """More than one chunk of BDAT."""
    body["text"] = "Large."
    body["attachments"] = [{"filename": "a.bin", "contentType": "application/octet-stream", "content": octets(dice, 700_000)}]


SHAPES = [plain, both, long_lines, dots, attached, inline, spaces, fields, sealed, plain]
# The costly ones; all the others take turns.
RARE = {5: large, 25: large, 50: huge}


def request(number, to):
    return {
        "messageId": number, "to": to, "from": "News <news@sender.example>", "subject": f"Number {number}",
        "ipPool": "transactional", "organizationId": "acme", "dkimDomain": "sender.example",
    }


def make(count, file):
    with open(file, "w", encoding="utf-8") as output:

        def write(name, local, index, shape):
            body = request(f"{name}-{index}", f"{local}{index}@d{index % 4}.test-zone.example")
            shape(body, dice)
            output.write(("/send/postbox" if shape is sealed else "/send") + "\t" + json.dumps(body, ensure_ascii=False) + "\n")

        for index in range(count):
            dice = random.Random(index)
            write("m", "u", index, RARE.get(index % 100, SHAPES[index % len(SHAPES)]))
            if index % 20 == 0:
                write("r", "unknown", index, plain)
            if index % 50 == 0:
                write("i", "grüße", index, both)


# The same few values of Content-Type are looked at again and again.
policy = email.policy.default.clone(
    raise_on_defect=True, header_factory=functools.lru_cache(10_000)(email.headerregistry.HeaderRegistry())
)


def unix(text):
    """Line ends as one kind; how many blank ones end a part is nobody's promise."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def split(content):
    """Header, without what the peer put in front of our first field, and body; line ends of a mailbox."""
    content = content.replace(b"\r\n", b"\n")
    header, _, body = content[content.lower().index(b"\ndkim-signature:") + 1 :].partition(b"\n\n")
    return header, body


def judge(content, want, record):
    import dkim

    wrong = []

    def same(what, got, expected):
        if got != expected:
            wrong.append(f"{what}: {got!r:.300} is not {expected!r:.300}")

    if not dkim.verify(content, dnsfunc=lambda name, timeout=5: record.encode()):
        wrong.append("the DKIM signature does not verify")
    header, body = split(content)
    internationalised = not want["to"].isascii()
    if "sealedMimeBase64" in want:
        message = base64.b64decode(want["sealedMimeBase64"]).replace(b"\r\n", b"\n")
        # A mailbox ends its last line.
        same("sealed octets", re.split(rb"\n(?![ \t])", header, maxsplit=1)[1] + b"\n\n" + body, message.removesuffix(b"\n") + b"\n")
        return wrong
    if internationalised:
        # RFC 6532: raw UTF-8 in the header, which this parser only knows as text.
        message = email.message_from_string((header + b"\n\n" + body).decode(), policy=policy)
    else:
        message = email.message_from_bytes(header + b"\n\n" + body, policy=policy)
    for part in message.walk():
        for name, value in part.items():
            # This parser knows no local part beyond ASCII.
            defects = [defect for defect in value.defects if not isinstance(defect, email.errors.NonASCIILocalPartDefect)]
            if defects:
                wrong.append(f"{name} has defects: {defects}")
        if part.defects:
            wrong.append(f"{part.get_content_type()} has defects: {part.defects}")
    same("subject", message["Subject"], want["subject"])
    author = message["From"].addresses[0]
    # This parser keeps the space between two encoded words of a display name, which RFC 2047 section 6.2 drops.
    same("author", author.display_name.replace(" ", ""), want["from"].rpartition(" <")[0].replace(" ", ""))
    same("author's address", author.addr_spec, "news@sender.example")
    same("recipient", message["To"].addresses[0].addr_spec, want["to"])
    same("reply-to", message["Reply-To"], want.get("replyTo"))
    for name, value in want.get("headers", {}).items():
        same(name, message[name], value)
    parts, attached = {}, []
    for part in message.walk():
        if part.is_multipart():
            continue
        if part.get_filename() is not None:
            identifier = (part["Content-ID"] or "").strip("<>")
            attached.append([part.get_filename(), part.get_content_type(), part.get_payload(decode=True), identifier])
        else:
            parts[part.get_content_type()] = part.get_payload(decode=True).decode(part.get_content_charset())
    for kind, name in [("text/plain", "text"), ("text/html", "html"), ("text/x-amp-html", "amp")]:
        # Without a text of its own a message has one made from its HTML.
        if name in want or name != "text":
            same(name, unix(parts.get(kind, "")), unix(want.get(name, "")))
    expected = [
        [item["filename"], item["contentType"], base64.b64decode(item["content"]), item.get("contentId", "")]
        for item in want.get("attachments", [])
    ]
    same("attachments", sorted(attached), sorted(expected))
    return wrong


def examine(path):
    """Its id, whether it came encrypted, and what is wrong with it."""
    content = path.read_bytes()
    found = re.search(rb"^X-Owlat-Message-Id: (\S+)", content, re.MULTILINE | re.IGNORECASE)
    number = found.group(1).decode() if found else path.name
    received = re.search(rb"^Received: .*(?:\n[ \t].*)*", content, re.MULTILINE | re.IGNORECASE)
    encrypted = bool(received and re.search(rb"\bwith (utf8)?e?smtps", received.group(0), re.IGNORECASE))
    try:
        return number, encrypted, judge(content, wanted[number], record)
    except Exception as error:  # noqa: BLE001: whatever a parser says is the finding
        return number, encrypted, [repr(error)]


def check(folder):
    times, wrong, encrypted = collections.Counter(), set(), 0
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for number, was_encrypted, findings in pool.imap_unordered(examine, sorted(pathlib.Path(folder).iterdir()), chunksize=10):
            times[number] += 1
            encrypted += was_encrypted
            if times[number] > 1:
                findings = [*findings, "is there more than once"]
            if findings:
                wrong.add(number)
                print(number, *findings, sep="\n  ", file=sys.stderr)
    missing = sorted(set(wanted) - set(times))
    print(json.dumps({"good": len(set(times) - wrong), "wrong": sorted(wrong), "missing": missing, "encrypted": encrypted}))


if sys.argv[1] == "make":
    make(int(sys.argv[2]), sys.argv[3])
else:
    record = sys.argv[4]
    wanted = {}
    for line in pathlib.Path(sys.argv[2]).read_text(encoding="utf-8").split("\n")[:-1]:
        body = json.loads(line.split("\t", 1)[1])
        wanted[body["messageId"]] = body
    check(sys.argv[3])
