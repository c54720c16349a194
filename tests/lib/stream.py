#!/usr/bin/env python3
"""Events over TLS for as long as told, both directions open, with pauses in
which nobody says a word: as a program talks to a model.

    stream.py serve CERT KEY PORT SECONDS
    stream.py take HOST PORT CA SECONDS

An event a second for a third of the time, at most a minute, then a pause of
as long, and so on. Either side numbers what it says and tells when it said
it, by the machine's one monotonic clock; the taker looks for loss and delay
in both directions, says in a line how it went, and fails if it went badly.
Its way leads through the proxy of HTTPS_PROXY.
"""
import json
import os
import socket
import ssl
import statistics
import sys
import threading
import time

SLOW_S, USUAL_S = 3.0, 0.25  # the slowest, and the median, may take so long


class Side:
    """What comes from the other side, looked at."""

    def __init__(self):
        self.count, self.delays = 0, []

    def take(self, said):
        if said["n"] != self.count:
            raise ValueError(f"{said['n']} came where {self.count} was due")
        self.count += 1
        self.delays.append(time.monotonic() - said["t"])


def say_all(say, seconds):
    """One a second, but in the pauses."""
    turn, begin, n = min(60, seconds / 3), time.monotonic(), 0
    while (now := time.monotonic() - begin) < seconds:
        if int(now / turn) % 2 == 0:
            say({"n": n, "t": time.monotonic()})
            n += 1
        time.sleep(1)
    return n


def serve_one(plain, context, seconds):
    up, failed = Side(), []
    try:
        tls = context.wrap_socket(plain, server_side=True)
    except OSError:
        return  # who only looked whether it listens
    with tls:
        lines = tls.makefile("rb")
        while lines.readline() not in (b"\r\n", b""):
            pass
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Connection: close\r\n\r\n")

        def listen():
            try:
                while size := int(lines.readline() or b"0", 16):
                    up.take(json.loads(lines.read(size)))
                    lines.readline()
            except Exception as e:
                failed.append(str(e))

        thread = threading.Thread(target=listen)
        thread.start()
        event = lambda v: tls.sendall(
            b"data: " + json.dumps(v).encode() + b"\n\n")
        sent = say_all(event, seconds)
        thread.join(30)
        event({"sent": sent, "taken": up.count, "failed": failed,
               "slowest": max(up.delays, default=99),
               "usual": statistics.median(up.delays or [99])})


def serve(cert, key, port, seconds):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        while True:
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve_one, daemon=True,
                             args=(plain, context, float(seconds))).start()


def tunnel(host, port):
    proxy = os.environ["HTTPS_PROXY"].removeprefix("http://").rstrip("/")
    plain = socket.create_connection(proxy.rsplit(":", 1))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n"
                  .encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += plain.recv(1) or sys.exit("the proxy said nothing")
    if b" 200 " not in answer:
        sys.exit(answer.decode())
    return plain


def take(host, port, ca, seconds):
    context = ssl.create_default_context(cafile=ca)
    down, sent = Side(), []
    with context.wrap_socket(tunnel(host, port), server_hostname=host) as tls:
        tls.sendall(f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = lambda b: tls.sendall(b"%x\r\n%b\r\n" % (len(b), b))

        def speak():
            sent.append(say_all(lambda v: chunk(json.dumps(v).encode()),
                                float(seconds)))
            tls.sendall(b"0\r\n\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        for line in tls.makefile("rb"):
            if line.startswith(b"data: "):
                said = json.loads(line[6:])
                if "sent" in said:
                    break
                down.take(said)
        else:
            sys.exit("streamed badly: it broke off")
        thread.join()
    slowest = max(*down.delays, said["slowest"])
    usual = max(statistics.median(down.delays), said["usual"])
    told = (f"{down.count} of {said['sent']} down, {said['taken']} of "
            f"{sent[0]} up, the slowest in {slowest * 1000:.0f} ms, usually "
            f"{usual * 1000:.1f} ms")
    if (said["failed"] or down.count != said["sent"] or
            said["taken"] != sent[0] or slowest > SLOW_S or usual > USUAL_S):
        sys.exit(f"streamed badly: {told} {said['failed']}")
    print("streamed well:", told)


{"serve": serve, "take": take}[sys.argv[1]](*sys.argv[2:])
