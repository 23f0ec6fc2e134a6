"""Receivers of webhooks for tests: one that accepts, and those that fail, hang, redirect or die."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def subjects(self) -> list[int]:
        return [event["subject"]["id"] for event in self.document["data"]["events"]]


@dataclass
class Receiver:
    """Answers 200, unless `fail_with` has a status or `behaviour` says otherwise: hang, redirect,
    die (close the connection without an answer).
    """

    url: str = ""
    fail_with: int | None = None
    behaviour: str = ""
    body: bytes = b"ok"
    received: list[Received] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.received.append(Received(handler.path, headers, body))
        if self.behaviour == "die":
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.behaviour == "hang":
            self.release.wait(30)
            return
        handler.send_response(302 if self.behaviour == "redirect" else self.fail_with or 200)
        if self.behaviour == "redirect":
            handler.send_header("Location", f"{self.url}elsewhere")
        handler.send_header("Content-Length", str(len(self.body)))
        handler.end_headers()
        handler.wfile.write(self.body)


@contextmanager
def receiving(receiver: Receiver | None = None) -> Iterator[Receiver]:
    """Let the receiver, or a new one, listen on a free port with http."""
    receiver, host = receiver or Receiver(), "127.0.0.1"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    receiver.url = f"http://{host}:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
