"""Test server on Python's standard library. Routes and behaviour: README.md beside this file."""

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE_BYTES_MAX = 64 << 20
SLOW_MS_MAX = 10_000
BLOCK = b"x" * 65_536


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def server_bind(self):
        # The base class looks the name up in DNS, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def answer(self, status, content=b"", kind="text/plain", headers=()):
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(content)

    def refuse(self, status):
        self.answer(status, json.dumps({"error": status}).encode(), "application/json")

    def chunked(self):
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if self.command != "HEAD":
            for number in range(3):
                chunk = b"chunk %d\n" % number
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")

    def large(self, count):
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(count))
        self.end_headers()
        while count > 0 and self.command != "HEAD":
            self.wfile.write(BLOCK[:count])
            count -= min(count, len(BLOCK))

    def route(self):
        content = self.body()
        parts = self.path.split("?")[0].strip("/").split("/")
        name, argument = parts[0], parts[1] if len(parts) == 2 else None
        number = int(argument) if argument and argument.isascii() and argument.isdigit() else -1
        if parts == ["echo"]:
            kind = self.headers.get("content-type", "text/plain")
            self.answer(200, content, kind, [("x-method", self.command)])
        elif parts == ["chunked"]:
            self.chunked()
        elif name == "status" and argument is not None:
            if 200 <= number <= 599:
                self.answer(number, json.dumps({"status": number}).encode(), "application/json")
            else:
                self.refuse(400)
        elif name == "large" and argument is not None:
            self.large(number) if 0 <= number <= LARGE_BYTES_MAX else self.refuse(400)
        elif parts == ["slow"] or name == "slow" and argument is not None:
            delay_ms = 100 if argument is None else number
            if 0 <= delay_ms <= SLOW_MS_MAX:
                time.sleep(delay_ms / 1000)
                self.answer(200, b"slow\n")
            else:
                self.refuse(400)
        else:
            self.refuse(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = route


def end(*_):
    os._exit(0)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    Server.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = Server((address, port), Handler)
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_port}", flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    end()


main()
