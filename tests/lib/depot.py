#!/usr/bin/env python3
"""A git repository, a package index and a registry, each as small as its
clients take it, over TLS; and a page, over plain HTTP too.

    depot.py DIR CERT KEY TLS-PORT HTTP-PORT

DIR is made. All are ready once both ports listen.
"""
import base64
import hashlib
import http.server
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile

where, cert, key = sys.argv[1:4]
tls_port, http_port = int(sys.argv[4]), int(sys.argv[5])


def put(name, data):
    path = os.path.join(where, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def git():
    """A bare repository as plain files (the dumb protocol)."""
    work, bare = where + "-work", os.path.join(where, "tiny.git")
    run = lambda *a: subprocess.run(["git", "-c", "user.name=t", "-c",
                                     "user.email=t@t.example", *a], check=True)
    run("init", "-q", work)
    with open(os.path.join(work, "README"), "w") as f:
        f.write("tiny was " + "cloned\n")
    run("-C", work, "add", "README")
    run("-C", work, "commit", "-q", "-m", "all of it")
    run("clone", "-q", "--bare", work, bare)
    run("-C", bare, "update-server-info")


def index():
    """A wheel in a simple index (PEP 503, PEP 427)."""
    info, out = "tiny-1.0.dist-info/", io.BytesIO()
    files = {"tiny.py": "said = 'tiny was ' + 'imported'\n",
             info + "METADATA": "Metadata-Version: 2.1\nName: tiny\n"
                                "Version: 1.0\n",
             info + "WHEEL": "Wheel-Version: 1.0\nGenerator: depot\n"
                             "Root-Is-Purelib: true\nTag: py3-none-any\n"}
    files[info + "RECORD"] = "".join(f"{n},,\n" for n in
                                     [*files, info + "RECORD"])
    with zipfile.ZipFile(out, "w") as z:
        for name, text in files.items():
            z.writestr(name, text)
    wheel = "tiny-1.0-py3-none-any.whl"
    digest = hashlib.sha256(out.getvalue()).hexdigest()
    put("wheels/" + wheel, out.getvalue())
    put("simple/tiny/index.html",
        f'<!DOCTYPE html><a href="/wheels/{wheel}#sha256={digest}">{wheel}'
        "</a>\n".encode())


def registry():
    """A packument and its tarball."""
    manifest = {"name": "tiny", "version": "1.0.0", "main": "index.js"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, text in [("package.json", json.dumps(manifest)),
                           ("index.js",
                            "module.exports = 'tiny was ' + 'required'\n")]:
            member = tarfile.TarInfo("package/" + name)
            member.size = len(text)
            t.addfile(member, io.BytesIO(text.encode()))
    sha512 = hashlib.sha512(out.getvalue()).digest()
    put("tarballs/tiny-1.0.0.tgz", out.getvalue())
    manifest["dist"] = {
        "tarball": f"https://registry.example:{tls_port}"
                   "/tarballs/tiny-1.0.0.tgz",
        "integrity": "sha512-" + base64.b64encode(sha512).decode(),
        "shasum": hashlib.sha1(out.getvalue()).hexdigest()}
    put("tiny", json.dumps({"name": "tiny", "dist-tags": {"latest": "1.0.0"},
                            "versions": {"1.0.0": manifest}}).encode())


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args):
        super().__init__(*args, directory=where)

    def guess_type(self, path):
        return "application/json" if path.endswith("/tiny") else \
            super().guess_type(path)

    def log_message(self, *args):
        pass


os.makedirs(where)
put("page.txt", b"this page was read\n")
git()
index()
registry()
plain = http.server.ThreadingHTTPServer(("127.0.0.1", http_port), Handler)
server = http.server.ThreadingHTTPServer(("127.0.0.1", tls_port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True,
                                    do_handshake_on_connect=False)
threading.Thread(target=plain.serve_forever, daemon=True).start()
server.serve_forever()
