"""Demo traffic: what customers of a small shop do, at a bounded rate and up to a bounded number of requests.

Usage: client.py SHOP_PORT PAYMENTS_PORT [RATE [REQUESTS]]. Prints `ready` before the first request; ends at the end of its
standard input, on SIGTERM, or after the last request, when it waits for one of the two.
"""

import http.client
import json
import os
import random
import signal
import sys
import threading
import time


class Connection:
    """Keeps one connection alive and opens it again when it was closed."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)

    def call(self, method, path, value=None, chunked=False):
        headers = {"accept": "application/json", "user-agent": "shop-client/1.0"}
        body = None
        if value is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(value).encode()
        if chunked:
            headers["transfer-encoding"] = "chunked"
            half = len(body) // 2
            body = iter([body[:half], body[half:]])
        try:
            self.connection.request(method, path, body, headers, encode_chunked=chunked)
            response = self.connection.getresponse()
            content = response.read()
            is_json = response.getheader("content-type") == "application/json" and content
            return response.status, json.loads(content) if is_json else None
        except (http.client.HTTPException, OSError, ValueError):
            self.connection.close()
            return None, None


class Customer:
    def __init__(self, shop, payments):
        self.shop, self.payments = Connection(shop), Connection(payments)
        self.random = random.Random(1)
        self.orders, self.paid = [1], ["00000000-0000-4000-8000-000000000000"]

    def order(self, chunked):
        value = {"user": self.random.randint(1, 500), "amount": self.random.randint(1, 900), "note": "x" * 200}
        status, order = self.shop.call("POST", "/api/orders", value, chunked)
        if status == 201:
            self.orders = (self.orders + [order["id"]])[-200:]
            self.paid = (self.paid + [order["payment"]])[-200:]

    def act(self):
        chance, user = self.random.random(), self.random.randint(1, 520)
        if chance < 0.20:
            self.shop.call("GET", f"/api/users/{user}")
        elif chance < 0.28:
            self.shop.call("GET", f"/api/users/{user}/orders?limit=20&sort=date")
        elif chance < 0.32:
            self.shop.call("PUT", f"/api/users/{user}", {"tier": self.random.choice(["basic", "gold"])})
        elif chance < 0.44:
            self.order(chunked=False)
        elif chance < 0.52:
            self.order(chunked=True)
        elif chance < 0.66:
            self.shop.call("GET", f"/api/orders/{self.random.choice(self.orders)}")
        elif chance < 0.70:
            self.shop.call("GET", "/api/orders")
        elif chance < 0.72:
            self.shop.call("DELETE", f"/api/orders/{self.random.choice(self.orders)}")
        elif chance < 0.76:
            self.shop.call("GET", f"/api/reports/2026/{self.random.randint(1, 12):02}")
        elif chance < 0.82:
            self.shop.call("GET", self.random.choice(["/", "/static/shop.css", "/static/logo.svg"]))
        elif chance < 0.90:
            self.payments.call("GET", f"/v1/payments/{self.random.choice(self.paid)}")
        elif chance < 0.92:
            self.payments.call("POST", f"/v1/payments/{self.random.choice(self.paid)}/refunds", {"reason": "returned"})
        elif chance < 0.93:
            self.payments.call("GET", "/v1/payments/export")
        elif chance < 0.96:
            self.shop.call("GET", "/api/health")
        elif chance < 0.98:
            self.payments.call("GET", "/health")
        else:
            self.shop.call("GET", "/api/no-such-thing")


def end(*_):
    os._exit(0)


def watch_input():
    while sys.stdin.buffer.read(4096):
        pass
    end()


def main():
    shop, payments = int(sys.argv[1]), int(sys.argv[2])
    rate = float(sys.argv[3]) if len(sys.argv) > 3 else 25.0
    requests = int(sys.argv[4]) if len(sys.argv) > 4 else 100_000
    signal.signal(signal.SIGTERM, end)
    watcher = threading.Thread(target=watch_input, daemon=True)
    watcher.start()
    print("ready", flush=True)
    customer = Customer(shop, payments)
    started = time.monotonic()
    for number in range(requests):
        customer.act()
        time.sleep(max(0.0, started + (number + 1) / rate - time.monotonic()))
    watcher.join()


main()
