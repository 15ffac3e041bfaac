#!/usr/bin/env python3
"""How well reports of a source are understood without the wordings that only its mails taught.

usage: left-out.py CORPUS [source…]

CORPUS holds score.py and dev/ (bounces.jsonl, complaints.jsonl, not-bounces.jsonl and the mails that they name). For each source:
every wording of the report reader (Sources/Shared/Feedback) that its mails carry and no other source's do is taken out, the
supervisor is built, and reads that source's mails. Wordings that no mail of the corpus carries stay; so do the rules for
replies, whose sources `classify --score` leaves out. The files are put back at the end."""
import email
import email.policy
import json
import os
import re
import subprocess
import sys

root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
rooms = ["FeedbackWords", "Cause", "Notice", "NoticeEntries", "Tone", "Transcript"]
indices = ["bounces", "complaints", "not-bounces"]


def text(path):
    """All that a mail says, as the reader compares it: lower case, single spaces."""
    with open(path, "rb") as file:
        raw = file.read()
    parts = [raw.decode("utf-8", "replace")]
    try:
        for part in email.message_from_bytes(raw, policy=email.policy.compat32).walk():
            payload = part.get_payload(decode=True)
            for charset in {part.get_content_charset() or "utf-8", "utf-8", "iso-2022-jp"} if payload else ():
                try:
                    parts.append(payload.decode(charset, "replace"))
                except LookupError:
                    pass
    except Exception:  # Some are broken on purpose: their raw text is in.
        pass
    return re.sub(r"\s+", " ", " ".join(parts)).lower()


def without(source, code, texts, start):
    """The code without the wordings of one source, and how many that were."""
    gone = start

    def literal(match):
        nonlocal gone
        words = match.group(1)
        if len(words) < 5 or "\\" in words or words != words.lower():
            return match.group(0)
        carriers = {name for name, mails in texts.items() if any(words.strip() in mail for mail in mails)}
        if carriers != {source}:
            return match.group(0)
        gone += 1
        return '"\\u{1}%d"' % gone

    lines = code.splitlines(keepends=True)
    return "".join(line if line.lstrip().startswith("//") else re.sub(r'"((?:[^"\\\n]|\\.)*)"', literal, line) for line in lines), gone


def main():
    corpus = os.path.abspath(sys.argv[1])
    dev = os.path.join(corpus, "dev")
    sources = {}
    for index in indices:
        with open(os.path.join(dev, index + ".jsonl"), encoding="utf-8") as rows:
            sources.update((row["file"], row["source"]) for row in map(json.loads, rows))
    texts = {}
    for file, source in sources.items():
        texts.setdefault(source, []).append(text(os.path.join(dev, file)))
    paths = {room: os.path.join(root, "Sources/Shared/Feedback", room + ".swift") for room in rooms}
    originals = {room: open(path, encoding="utf-8").read() for room, path in paths.items()}
    try:
        for source in sys.argv[2:] or sorted(texts, key=lambda name: -len(texts[name])):
            gone = 0
            for room, path in paths.items():
                code, gone = without(source, originals[room], texts, gone)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(code)
            build = subprocess.run(["swift", "build", "--product", "supervisor"], cwd=root, capture_output=True, text=True)
            if build.returncode:
                sys.exit(build.stdout[-3000:])
            mails = sorted(file for file, name in sources.items() if name == source)
            found = subprocess.run(
                [os.path.join(root, ".build/debug/supervisor"), "feedback", "parse", *mails, "--json"],
                cwd=dev, check=True, capture_output=True).stdout
            predictions = os.path.join(root, ".build/left-out.jsonl")
            with open(predictions, "wb") as file:
                file.write(found)
            score = subprocess.run(
                [sys.executable, os.path.join(corpus, "score.py"), predictions, "--set", "dev", "--source", source],
                check=True, capture_output=True, text=True).stdout
            print(f"{source}: {len(mails)} mails, {gone} wordings left out\n  {score.strip().splitlines()[-1]}", flush=True)
    finally:
        for room, path in paths.items():
            with open(path, "w", encoding="utf-8") as file:
                file.write(originals[room])


main()
