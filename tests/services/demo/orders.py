"""Demo service on Python's standard library: orders and users of a small shop. Calls the payments service.

Usage: orders.py PORT PAYMENTS_PORT. Prints `ready PORT`; ends at the end of its standard input, or on SIGTERM.
"""

import http.client
import itertools
import json
import os
import re
import signal
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USERS_MAX = 500
ORDERS_MAX = 5_000
# Every so many report requests one fails, as services do.
REPORT_FAILURES_EVERY = 7

lock = threading.Lock()
order_ids = itertools.count(1001)
report_numbers = itertools.count(1)
orders = {}
users = {number: {"id": number, "name": f"user {number}", "tier": "basic"} for number in range(1, USERS_MAX + 1)}
payments = threading.local()
payments_port = 0


def pay(order_id, amount):
    """One connection per thread, opened again when the other end has closed it."""
    body = json.dumps({"order": order_id, "amount": amount, "currency": "EUR"})
    for _ in range(2):
        connection = getattr(payments, "connection", None)
        if connection is None:
            connection = payments.connection = http.client.HTTPConnection("127.0.0.1", payments_port, timeout=10)
        try:
            connection.request("POST", "/v1/payments", body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (http.client.HTTPException, OSError, ValueError):
            connection.close()
            payments.connection = None
    return 502, {"error": "payments cannot be reached"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "orders/1.0"

    def log_message(self, format, *args):
        pass

    def content(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status, value=None):
        self.send_response(status)
        content = b"" if value is None else json.dumps(value).encode()
        if status != 204:
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(content)

    def handle_request(self):
        try:
            content = self.content()
        except ValueError:
            self.close_connection = True
            return self.answer(400, {"error": "the body cannot be read"})
        path = self.path.split("?")[0]
        for method, pattern, function in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == ("GET" if self.command == "HEAD" else self.command):
                return function(self, content, *found.groups())
        known = any(re.fullmatch(pattern, path) for _, pattern, _ in ROUTES)
        self.answer(405 if known else 404, {"error": "no such method" if known else "no such route"})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request


def health(request, _):
    request.answer(200, {"status": "ok"})


def list_orders(request, _):
    with lock:
        latest = list(orders.values())[-20:]
    request.answer(200, latest)


def get_order(request, _, order_id):
    order = orders.get(int(order_id))
    request.answer(200 if order else 404, order or {"error": "no such order"})


def create_order(request, content):
    try:
        wanted = json.loads(content)
        user, amount = users[int(wanted["user"])], int(wanted["amount"])
    except (ValueError, KeyError, TypeError):
        return request.answer(422, {"error": "an order needs a known user and an amount"})
    with lock:
        order_id = next(order_ids)
    status, payment = pay(order_id, amount)
    if status != 201:
        return request.answer(402 if status == 402 else 502, payment)
    order = {"id": order_id, "user": user["id"], "amount": amount, "payment": payment["id"]}
    with lock:
        orders[order_id] = order
        while len(orders) > ORDERS_MAX:
            del orders[next(iter(orders))]
    request.answer(201, order)


def delete_order(request, _, order_id):
    with lock:
        found = orders.pop(int(order_id), None)
    request.answer(204 if found else 404, None if found else {"error": "no such order"})


def get_user(request, _, user_id):
    user = users.get(int(user_id))
    request.answer(200 if user else 404, user or {"error": "no such user"})


def put_user(request, content, user_id):
    user = users.get(int(user_id))
    if user is None:
        return request.answer(404, {"error": "no such user"})
    try:
        user["tier"] = str(json.loads(content)["tier"])[:20]
    except (ValueError, KeyError, TypeError):
        return request.answer(422, {"error": "a user needs a tier"})
    request.answer(200, user)


def user_orders(request, _, user_id):
    with lock:
        found = [order for order in orders.values() if order["user"] == int(user_id)]
    request.answer(200, found[-20:])


def report(request, _, year, month):
    if next(report_numbers) % REPORT_FAILURES_EVERY == 0:
        return request.answer(500, {"error": "the report cannot be made", "incident": str(uuid.uuid4())})
    request.answer(200, {"period": f"{year}-{month}", "orders": len(orders)})


ROUTES = [
    ("GET", r"/health", health),
    ("GET", r"/orders", list_orders),
    ("POST", r"/orders", create_order),
    ("GET", r"/orders/(\d{1,9})", get_order),
    ("DELETE", r"/orders/(\d{1,9})", delete_order),
    ("GET", r"/users/(\d{1,9})", get_user),
    ("PUT", r"/users/(\d{1,9})", put_user),
    ("GET", r"/users/(\d{1,9})/orders", user_orders),
    ("GET", r"/reports/(\d{4})/(\d{2})", report),
]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def end(*_):
    os._exit(0)


def main():
    global payments_port
    port, payments_port = (int(argument) for argument in sys.argv[1:3])
    server = Server(("127.0.0.1", port), Handler)
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_port}", flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    end()


main()
