#!/usr/bin/python3
"""What is outside of the cage, for tests: a resolver, a TLS server, a plain
one. Each line of its log is something that reached it.

    world.py LOG DNS_ADDRESS TLS_PORT HTTP_PORT CERT KEY

The resolver listens on port 53 of DNS_ADDRESS and knows
  ok.example, off.example      127.0.0.1, where both servers listen
  A-B-C-D.inside.example       A.B.C.D; 6-X--Y.inside.example is X::Y
  rebind.inside.example        127.0.0.1 and 169.254.169.254 in turn
  both.inside.example          169.254.169.254 and 127.0.0.1
The servers answer every request with its own head, and /redirect?URL with 302.
"""
import ipaddress
import socket
import ssl
import struct
import sys
import threading

LOG, DNS, TLS_PORT, HTTP_PORT, CERT, KEY = sys.argv[1:7]
log = open(LOG, "a", buffering=1)
lock = threading.Lock()
rebinds = 0


def tell(*words):
    with lock:
        log.write(" ".join(words) + "\n")


def addresses(name):
    """Of a name, or None: there is no such name."""
    global rebinds
    if name in ("ok.example", "off.example"):
        return ["127.0.0.1"]
    if name == "both.inside.example":
        return ["169.254.169.254", "127.0.0.1"]
    if name == "rebind.inside.example":
        return ["127.0.0.1" if rebinds % 2 == 0 else "169.254.169.254"]
    if not name.endswith(".inside.example"):
        return None
    label = name.split(".")[0]
    text = label[2:].replace("-", ":") if label.startswith("6-") \
        else label.replace("-", ".")
    try:
        return [str(ipaddress.ip_address(text))]
    except ValueError:
        return None


def answer(query):
    global rebinds
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    kind = struct.unpack("!H", query[at + 1:at + 3])[0]
    name = ".".join(labels).lower()
    tell("dns", name, {1: "A", 28: "AAAA"}.get(kind, str(kind)))
    found = addresses(name)
    records = b""
    count = 0
    for text in found or []:
        ip = ipaddress.ip_address(text)
        if kind == {4: 1, 6: 28}[ip.version]:
            records += struct.pack("!HHHIH", 0xc00c, kind, 1, 0,
                                   len(ip.packed)) + ip.packed
            count += 1
    if name == "rebind.inside.example" and kind == 1:
        rebinds += 1
    return query[:2] + struct.pack(
        "!HHHHH", 0x8180 | (3 if found is None else 0), 1, count, 0, 0) + \
        query[12:at + 5] + records


def resolver(sock):
    while True:
        query, peer = sock.recvfrom(4096)
        try:
            sock.sendto(answer(query), peer)
        except (IndexError, struct.error, OSError):
            tell("dns", "malformed")


def respond(conn, kind):
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        more = conn.recv(65536)
        if not more:
            break
        head += more
    if not head:
        return
    tell(kind, repr(head.decode("latin-1")))
    target = head.split(b" ")[1] if head.count(b" ") > 1 else b""
    if target.startswith(b"/redirect?"):
        conn.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + target[10:] +
                     b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                 b"Connection: close\r\nContent-Length: %d\r\n\r\n" %
                 len(head) + head)
    conn.settimeout(0.3)  # whatever comes behind its request
    try:
        more = conn.recv(65536)
        if more:
            tell(kind + "-more", repr(more.decode("latin-1")))
    except OSError:
        pass


def serve(conn, context):
    with conn:
        conn.settimeout(20)
        try:
            if context is None:
                respond(conn, "http")
                return
            first = conn.recv(3, socket.MSG_PEEK)
            if not first:
                return
            tell("tls-bytes", first.hex())
            with context.wrap_socket(conn, server_side=True) as secure:
                tell("tls")
                respond(secure, "https")
        except OSError:
            pass


def listener(port, context):
    sock = socket.create_server(("127.0.0.1", int(port)), backlog=512)

    def accept():
        while True:
            conn, _ = sock.accept()
            threading.Thread(target=serve, args=(conn, context),
                             daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


threading.stack_size(256 * 1024)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(CERT, KEY)
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind((DNS, 53))
stream = socket.create_server((DNS, 53))  # a tunnel by TCP would come here


def accept_streams():
    while True:
        conn, _ = stream.accept()
        tell("dns", "by-tcp")
        conn.close()


threading.Thread(target=accept_streams, daemon=True).start()
listener(TLS_PORT, tls)
listener(HTTP_PORT, None)
tell("ready")
resolver(dns)
