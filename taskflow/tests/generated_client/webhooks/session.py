"""`python session.py http://127.0.0.1:8000`: receive a delivery with the library of Standard Webhooks.

Signs in to the demo, creates a webhook and replaces its secret, sends a ping, and verifies the
delivery with each of the two secrets.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LOGIN = {"email": "ada@acme.example", "password": "taskflow-demo-2026"}
SECONDS = 60


def main(base: str) -> None:
    api = Api(base)
    api.token = api.post("/auth/login", LOGIN)["token"]
    received: list[tuple[dict[str, str], bytes]] = []
    arrived = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    hook = api.post("/webhooks", {"url": url, "event_types": ["task.completed"]})
    rotated = api.post(f"/webhooks/{hook['id']}/rotation")
    api.post(f"/webhooks/{hook['id']}/ping")
    if not arrived.wait(SECONDS):
        sys.exit("no delivery has arrived")
    headers, body = received[0]
    for secret in (hook["secret"], rotated["secret"]):
        document: Any = Webhook(secret).verify(body, headers)
        assert document["type"] == "ping", document
    try:
        Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").verify(body, headers)
    except WebhookVerificationError:
        print("standardwebhooks: the signatures of a delivery are right")
    else:
        sys.exit("a wrong secret was accepted")


class Api:
    """Sends requests with one token."""

    def __init__(self, base: str) -> None:
        self.base, self.token = base, ""

    def post(self, path: str, body: object = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/api/v1{path}", data, method="POST")
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request) as response:
            return json.load(response)


if __name__ == "__main__":
    main(sys.argv[1])
