#!/usr/bin/env python3
"""`make bench`: 5,000 messages of 10 KB over 20 domains, DKIM, webhooks on, durability always.

Starts nsd, our sink and a webhook receiver, posts everything over 32 connections, waits for every webhook, and prints
delivered/s, CPU a message of each process, and what Redis was asked and sent. One JSON line at the end.
"""
import http.client
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

COUNT = int(os.environ.get("COUNT", "5000"))
DOMAINS = 20
BIN = pathlib.Path(os.environ.get("OWLAT_BIN", ".build/release"))
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / TICK


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sent = 0
    lock = threading.Lock()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b'"event":"sent"' in body:
            with Receiver.lock:
                Receiver.sent += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="owb-", dir="/tmp"))
    api, dns, sink, hook = (free_port() for _ in range(4))
    zone = "$ORIGIN bench.example.\n$TTL 300\n@ IN SOA ns admin 1 3600 900 86400 30\n@ IN NS ns\nns IN A 127.0.0.1\n"
    for index in range(DOMAINS):
        zone += f"d{index} IN MX 10 mx{index}\nmx{index} IN A 127.0.0.1\n"
    (folder / "zone").write_text(zone)
    (folder / "nsd.conf").write_text(
        f'server:\n ip-address: 127.0.0.1@{dns}\n do-ip6: no\n username: ""\n zonesdir: "{folder}"\n'
        f' pidfile: "{folder}/nsd.pid"\n logfile: "{folder}/nsd.log"\n database: ""\n xfrdfile: "{folder}/x"\n'
        f' zonelistfile: "{folder}/zl"\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n'
        f'zone:\n name: "bench.example"\n zonefile: "zone"\n')
    (folder / "c.yaml").write_text(
        f'hostname: mta.bench.example\nstate_dir: {folder}/s\nruntime_dir: {folder}/r\n'
        f'api: {{ listen: "127.0.0.1:{api}", master_key: k }}\n'
        f'redis: {{ url: embedded, durability: always }}\ndns: {{ servers: ["127.0.0.1@{dns}"] }}\n'
        f'smtp: {{ port: {sink}, allow_loopback_mx: true }}\n'
        f'bounce: {{ domain: b.bench.example, verp_key: "0123456789abcdef0123456789abcdef" }}\n'
        f'webhooks: [ {{ url: "http://127.0.0.1:{hook}/", secret: s }} ]\nlimits: {{ min_free_mib: 1, org_daily: 10000000, org_hourly: 10000000 }}\n'
        f'providers: {{ other: {{ defaultRate: 1000000, ceiling: 1000000, maxConnections: 4, maxDeliveriesPerConnection: 1000 }} }}\n'
        f'dnsbl: {{ zones: [] }}\nidentity: {{ require: false }}\n'
        f'pools: {{ transactional: {{ ips: [ {{address: 127.0.0.41, warmed: true}}, {{address: 127.0.0.42, warmed: true}} ] }} }}\n')
    children = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", hook), Receiver)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        children.append(subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", folder / "nsd.conf"], start_new_session=True))
        children.append(subprocess.Popen([BIN / "mailbench", "--port", str(sink)], stdout=subprocess.DEVNULL, start_new_session=True))
        supervisor = subprocess.Popen([BIN / "supervisor", "run", "--config", folder / "c.yaml"], stderr=open(folder / "log", "w"), start_new_session=True)
        children.append(supervisor)
        report(folder, api, supervisor, server)
    finally:
        for child in reversed(children):
            try:
                child.terminate()
                child.wait(timeout=40)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(child.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def command(folder, *words):
    out = subprocess.run([BIN / "supervisor", *words, "--json", "--config", folder / "c.yaml"], capture_output=True, text=True)
    return json.loads(out.stdout) if out.returncode == 0 else None


def redis_stats(folder):
    environment = os.environ | {"REDISCLI_AUTH": pathlib.Path(folder, "s/redis/password").read_text()}
    info = subprocess.run(
        ["redis-cli", "-s", f"{folder}/s/redis/redis.sock", "info", "all"], capture_output=True, text=True, env=environment
    ).stdout
    values = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    # What clients sent; what Functions call inside (HGET, XADD …) is counted by Redis too and left out.
    calls = {}
    for key, value in values.items():
        if key.startswith("cmdstat_"):
            calls[key[8:]] = int(value.split("calls=")[1].split(",")[0])
    client = sum(calls.get(name, 0) for name in ("fcall", "xreadgroup", "xread"))
    return client, int(values["total_net_input_bytes"]) + int(values["total_net_output_bytes"])


def report(folder, api, supervisor, server):
    deadline = time.time() + 30
    while time.time() < deadline:
        rows = command(folder, "ip", "list")
        status = command(folder, "status")
        if rows and all(row["state"] == "active" for row in rows) and status and status["redis"] == "connected":
            break
        time.sleep(0.1)
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", api)
    connection.request("POST", "/dkim/sender.example/register", headers=headers)
    connection.getresponse().read()
    words = [w for w in pathlib.Path("LICENSE").read_text().split()]
    bodies = []
    for index in range(COUNT):
        text = " ".join(random.choices(words, k=1500))[:10_000]
        bodies.append(json.dumps({
            "messageId": f"b-{index}", "to": f"u{index}@d{index % DOMAINS}.bench.example", "from": "Bench <b@sender.example>",
            "subject": f"Bench {index}", "text": text, "ipPool": "transactional", "organizationId": "bench",
            "dkimDomain": "sender.example"}))
    pids = {"supervisor": [supervisor.pid], "workers": [row["pid"] for row in rows],
            "redis": [int((folder / "s/redis/redis.pid").read_text())]}
    before = {name: sum(map(cpu_ms, list_)) for name, list_ in pids.items()}
    commands_before, bytes_before = redis_stats(folder)
    start = time.time()
    queue = iter(bodies)
    lock = threading.Lock()

    def post():
        mine = http.client.HTTPConnection("127.0.0.1", api)
        while True:
            with lock:
                body = next(queue, None)
            if body is None:
                return
            mine.request("POST", "/send", body=body, headers=headers)
            answer = mine.getresponse()
            text = answer.read()
            assert answer.status == 200, text

    threads = [threading.Thread(target=post) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = time.time()
    while Receiver.sent < COUNT and time.time() < start + 300:
        time.sleep(0.05)
    end = time.time()
    after = {name: sum(map(cpu_ms, list_)) for name, list_ in pids.items()}
    commands_after, bytes_after = redis_stats(folder)
    speed = subprocess.run(["openssl", "speed", "-seconds", "2", "rsa2048"], capture_output=True, text=True).stdout
    sign_ms = 1000 / float(speed.splitlines()[-1].split()[5])
    cpu = {name: (after[name] - before[name]) / COUNT for name in pids}
    total = sum(cpu.values())
    print(json.dumps({
        "delivered": Receiver.sent, "delivered_per_s": round(COUNT / (end - start), 1),
        "accepted_per_s": round(COUNT / (accepted - start), 1),
        "cpu_ms_per_message": {name: round(value, 3) for name, value in cpu.items()}, "cpu_ms_total": round(total, 3),
        "rsa2048_signature_ms": round(sign_ms, 3), "ratio_to_signature": round(total / sign_ms, 2),
        "redis_client_commands_per_message": round((commands_after - commands_before) / COUNT, 2),
        "redis_bytes_per_message": round((bytes_after - bytes_before) / COUNT)}))


main()
