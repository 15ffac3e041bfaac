"""Sends one mail by SMTP and prints what the server said to each step, a line each: `rcpt 250 …`, `data 250 …`.

usage: smtp_send.py PORT RETURN-PATH RECIPIENT[,RECIPIENT…] FILE
"""
import smtplib
import sys

port, sender, recipients, path = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), sys.argv[4]
data = open(path, "rb").read()


def tell(step, reply):
    print(step, reply[0], reply[1].decode(errors="replace").replace("\n", " | "))
    return reply[0] // 100 == 2


client = smtplib.SMTP("127.0.0.1", port, local_hostname="mx.remote.example", timeout=20)
client.ehlo()
options = []
if client.has_extn("size"):
    options.append("size=%d" % len(data))
if client.has_extn("8bitmime"):
    options.append("BODY=8BITMIME")
tell("mail", client.mail(sender, options))
taken = [recipient for recipient in recipients if tell("rcpt", client.rcpt(recipient))]
if taken:
    tell("data", client.data(data))
client.quit()
