"""Judges what the MTA sent with other people's code.

verify.py dkim RECORD DIR      every .eml in DIR must verify with dkimpy against the DNS record; prints how many did
verify.py dkim-all FILE DIR    FILE: JSON of DNS name to record; every signature of every .eml must verify; prints how many did
verify.py webhook SECRET FILE  FILE: JSON list of {headers, body}; each must verify with standardwebhooks and by plain HMAC
"""
import hashlib
import hmac
import json
import pathlib
import sys


def dkim_all(record, folder):
    import dkim

    good = 0
    for path in sorted(pathlib.Path(folder).glob("*.eml")):
        message = path.read_bytes()
        if dkim.verify(message, dnsfunc=lambda name, timeout=5: record.encode()):
            good += 1
        else:
            print("not verified:", path.name, file=sys.stderr)
    print(good)


def dkim_each(file, folder):
    import dkim

    records = json.loads(pathlib.Path(file).read_text())
    good = 0
    for path in sorted(pathlib.Path(folder).glob("*.eml")):
        message = dkim.DKIM(path.read_bytes())
        for index in range(sum(name.lower() == b"dkim-signature" for name, _ in message.headers)):
            if message.verify(idx=index, dnsfunc=lambda name, timeout=5: records[name.decode().rstrip(".")].encode()):
                good += 1
            else:
                print("not verified:", path.name, index, file=sys.stderr)
    print(good)


def webhooks(secret, file):
    from standardwebhooks import Webhook

    good = 0
    for item in json.loads(pathlib.Path(file).read_text()):
        headers, body = item["headers"], item["body"]
        Webhook(secret).verify(body, headers)
        mac = hmac.new(secret.encode(), f"{headers['x-mta-timestamp']}.{body}".encode(), hashlib.sha256).hexdigest()
        if mac != headers["x-mta-signature"]:
            print("bad HMAC", file=sys.stderr)
            continue
        good += 1
    print(good)


if sys.argv[1] == "dkim":
    dkim_all(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "dkim-all":
    dkim_each(sys.argv[2], sys.argv[3])
else:
    webhooks(sys.argv[2], sys.argv[3])
