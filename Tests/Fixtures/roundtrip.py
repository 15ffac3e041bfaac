"""Parses what the MTA composed with Python's email package and compares it with what went in.

roundtrip.py DIR    DIR: 0.eml, 1.eml … and expected.json; prints how many agree, and on standard error what does not
"""
import base64
import email
import email.policy
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
# Strict: a defect in a header or in the structure raises.
policy = email.policy.default.clone(raise_on_defect=True)
good = 0


def lines(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


for index, want in enumerate(json.loads((folder / "expected.json").read_text())):
    wrong = []

    def same(what, got, expected):
        if got != expected:
            wrong.append(f"{what}: {got!r} is not {expected!r}")

    try:
        message = email.message_from_bytes((folder / f"{index}.eml").read_bytes(), policy=policy)
        same("subject", message["Subject"], want["subject"])
        address = message["From"].addresses[0]
        # This parser keeps the space between two encoded words of a display name, which RFC 2047 section 6.2 drops.
        same("author", address.display_name.replace(" ", ""), want["author"].replace(" ", ""))
        same("address", address.addr_spec, "news@sender.example")
        for name, value in want["headers"]:
            same(name, message[name], value)
        parts = {"text/plain": "", "text/html": "", "text/x-amp-html": ""}
        attached = []
        for part in message.walk():
            if part.is_multipart():
                continue
            if part.get_filename() is not None:
                attached.append(
                    [
                        part.get_filename(),
                        part.get_content_type(),
                        base64.b64encode(part.get_payload(decode=True)).decode(),
                        (part["Content-ID"] or "").strip("<>"),
                    ]
                )
            else:
                parts[part.get_content_type()] = part.get_payload(decode=True).decode(part.get_content_charset())
        for kind, name in [("text/plain", "text"), ("text/html", "html"), ("text/x-amp-html", "amp")]:
            same(name, lines(parts[kind]), lines(want[name]))
        same("attachments", sorted(attached), sorted(want["attachments"]))
    except Exception as error:  # noqa: BLE001: whatever the parser says is the finding
        wrong.append(repr(error))
    if wrong:
        print(index, *[text[:400] for text in wrong], sep="\n  ", file=sys.stderr)
    else:
        good += 1
print(good)
