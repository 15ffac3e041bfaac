"""Submits a message with Python's smtplib and prints what was answered: one line of codes and the last reply.

submit.py MODE [HOST:]PORT PASSWORD FROM TO[,TO…] FILE [PARAMETER …]
MODE: starttls or implicit, with `-login` behind it to use AUTH LOGIN, or `-twice` to send again in the same session: when it has
made FILE.sent and finds FILE.again; PARAMETER: of MAIL
"""
import pathlib
import smtplib
import ssl
import sys
import time

mode, port, password, sender, recipients, file = sys.argv[1:7]
host = port.rpartition(":")[0] or "127.0.0.1"
port = int(port.rpartition(":")[2])
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if mode.startswith("implicit"):
    client = smtplib.SMTP_SSL(host, port, local_hostname="laptop.example", context=context, timeout=20)
else:
    client = smtplib.SMTP(host, port, local_hostname="laptop.example", timeout=20)
    client.starttls(context=context)
client.ehlo()
client.user, client.password = "whoever", password
try:
    method = client.auth_login if mode.endswith("login") else client.auth_plain
    codes = [client.auth("LOGIN" if mode.endswith("login") else "PLAIN", method)[0]]
except smtplib.SMTPAuthenticationError as error:
    print(error.smtp_code, error.smtp_error.decode())
    sys.exit(1)


def submit():
    code, reply = client.mail(sender, sys.argv[7:])
    said = [code]
    for recipient in recipients.split(",") if code == 250 else []:
        code, reply = client.rcpt(recipient)
        said.append(code)
    if 250 in said[1:]:
        code, reply = client.data(pathlib.Path(file).read_bytes())
        said.append(code)
    return said, reply


said, reply = submit()
codes += said
if mode.endswith("twice"):
    pathlib.Path(file + ".sent").touch()
    until = time.monotonic() + 20
    while not pathlib.Path(file + ".again").exists() and time.monotonic() < until:
        time.sleep(0.01)
    said, reply = submit()
    codes += said
print(*codes, reply.decode())
client.quit()
