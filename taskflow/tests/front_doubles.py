"""What granian gives to the front, without a server, and an application behind it."""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskflow.front import front

LONG = 30.0  # seconds; a test that waits so long has failed


class FakeFuture:
    """A result that the test sets."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.error: BaseException | None = None
        self.is_cancelled = False
        self.callback: Callable[[FakeFuture], None] | None = None

    def add_done_callback(self, callback: Callable[[FakeFuture], None]) -> None:
        self.callback = callback

    def finish(self, content: bytes = b"", error: BaseException | None = None) -> None:
        self.content, self.error = content, error
        if self.callback is not None:
            self.callback(self)

    def cancel(self) -> bool:
        self.is_cancelled = True
        return True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def done(self) -> bool:
        return self.content is not None

    def exception(self) -> BaseException | None:
        return self.error

    def result(self) -> bytes:
        assert self.content is not None
        return self.content


class FakeHeaders(list[tuple[str, str]]):
    """Headers as granian gives them: it leaves out values that are not ASCII."""

    def __len__(self) -> int:
        return len(set(self.keys()))

    def items(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self if value.isascii()]

    def keys(self) -> list[str]:
        return [name for name, _ in self]


class FakeStream:
    """A response that is sent in parts."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def send_bytes(self, data: bytes) -> None:
        self.parts.append(data)


class FakeRequest:
    """A request, the connection that it came on, and the response that was sent."""

    authority: str | None = None
    client = "10.0.0.7:5555"
    http_version = "1.1"
    scheme = "http"
    server = "127.0.0.1:8000"

    def __init__(
        self, method: str = "GET", path: str = "/x", length: int | None = None, **headers: str
    ) -> None:
        self.method, self.path, self.query_string = method, path, ""
        names = {"host": "localhost"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if length is not None:
            names["content-length"] = str(length)
        self.headers = FakeHeaders(names.items())
        self.proto = self.scope = self
        self.parts: list[FakeFuture] = []
        self.disconnect = FakeFuture()
        self.has_ended = False  # whether the client had gone before anything watched it
        self.is_watched = False
        self.response: tuple[int, dict[str, str], bytes] | None = None
        self.sent_parts: list[bytes] = []
        self.stream: Callable[[], FakeStream | None] = lambda: None

    def __aiter__(self) -> FakeRequest:
        return self

    def __anext__(self) -> FakeFuture:  # type: ignore[override]
        self.parts.append(FakeFuture())
        return self.parts[-1]

    def send(self, part: bytes) -> None:
        """Let a part of the body arrive."""
        self.parts[-1].finish(part)

    def client_disconnect(self) -> object:
        self.is_watched = True
        return object() if self.has_ended else self.disconnect  # as granian does

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if self.response is None:  # granian ignores a second response
            self.response = status, dict(headers), body

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> FakeStream:
        """Return the stream. The request refers to its parts alone, as granian does."""
        self.response_bytes(status, headers, b"")
        stream = FakeStream()
        self.sent_parts, self.stream = stream.parts, weakref.ref(stream)
        return stream

    @property
    def sent_text(self) -> str:
        """What was sent as a stream."""
        return b"".join(self.sent_parts).decode()

    @property
    def has_stream_ended(self) -> bool:
        return self.stream() is None

    def response_file(self, status: int, headers: list[tuple[str, str]], file: str) -> None:
        self.response_bytes(status, headers, Path(file).read_bytes())

    @property
    def status(self) -> int | None:
        return self.response and self.response[0]

    @property
    def problem(self) -> Any:
        assert self.response is not None
        return json.loads(self.response[2])


class Application:
    """Records its requests. Those of the path /blocked wait until `unblock` is set."""

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []
        self.unblock = threading.Event()

    def __call__(self, environ, start_response):
        self.calls.append(environ)
        if environ["PATH_INFO"] == "/blocked":
            assert self.unblock.wait(LONG)
        if environ["PATH_INFO"] == "/failure":
            raise RuntimeError("a defect")
        start_response("201 Created", [("X-Body", environ["wsgi.input"].read().decode())])
        return [b"do", b"ne"]

    @property
    def paths(self) -> list[object]:
        return [call["PATH_INFO"] for call in self.calls]


def wait_until_idle(server: front.Front) -> None:
    """Wait until no request is being answered."""
    end = time.monotonic() + LONG
    while not server.is_idle:
        assert time.monotonic() < end
        time.sleep(0.002)


def move_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the monotonic clock on. It stands still from then on."""
    now = front.time.monotonic()
    monkeypatch.setattr(front.time, "monotonic", lambda: now + seconds)
