"""What clients get that send the same request again and again while something is broken."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

HOST = "127.0.0.1"
TIMEOUT = 45.0  # seconds, longer than anything that a request should take
PAUSE = 0.03  # seconds between two requests of one client
PAUSE_AFTER_FAILURE = 0.1


@dataclass(frozen=True)
class Sample:
    """One request: when it was sent, how long its response took, and its status and code."""

    at: float
    seconds: float
    status: str

    @property
    def is_success(self) -> bool:
        return self.status[0] == "2"


@dataclass
class Samples:
    all: list[Sample] = field(default_factory=list)

    def between(self, start: float, end: float) -> Samples:
        """Return the samples of requests that were unanswered at some time of this period."""
        return Samples([s for s in self.all if s.at < end and s.at + s.seconds > start])

    def sent_between(self, start: float, end: float) -> Samples:
        return Samples([s for s in self.all if start <= s.at < end])

    @property
    def worst(self) -> float:
        return max((s.seconds for s in self.all), default=0.0)

    def percentile(self, share: float) -> float:
        ordered = sorted(s.seconds for s in self.all)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def statuses(self) -> Counter[str]:
        return Counter(s.status for s in self.all)

    def describe(self) -> str:
        kinds = ", ".join(f"{n} × {status}" for status, n in self.statuses.most_common())
        return kinds or "no request"

    def first_success_after(self, moment: float) -> float | None:
        """Return after how many seconds the first success was answered; None if none was."""
        answered = [s.at + s.seconds for s in self.all if s.is_success and s.at >= moment]
        return min(answered) - moment if answered else None


@dataclass(frozen=True)
class Request:
    """A request that can be sent to a port at any time, each with a body of its own."""

    method: str
    path: str
    token: str = ""
    body: Callable[[], object] | None = None

    def send(self, port: int) -> Sample:
        started = time.monotonic()
        try:
            status, text = self._exchange(port)
            result = f"{status} {_code_of(text)}".strip() if status >= 400 else str(status)
        except (OSError, HTTPException) as error:
            result = type(error).__name__
        return Sample(started, time.monotonic() - started, result)

    def _exchange(self, port: int) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        text = None if self.body is None else json.dumps(self.body())
        with closing(HTTPConnection(HOST, port, timeout=TIMEOUT)) as connection:
            connection.request(self.method, self.path, text, headers)
            response = connection.getresponse()
            return response.status, response.read()


def _code_of(text: bytes) -> str:
    try:
        return str(json.loads(text).get("code", ""))
    except (ValueError, AttributeError):
        return ""


@contextmanager
def sampling(port: int, clients: dict[str, tuple[int, Request]]) -> Iterator[dict[str, Samples]]:
    """Send each request from so many clients while the block runs. Yield the samples by name."""
    samples = {name: Samples() for name in clients}
    ended = threading.Event()

    def run(name: str, request: Request) -> None:
        while not ended.is_set():
            samples[name].all.append(sample := request.send(port))
            ended.wait(PAUSE if sample.is_success else PAUSE_AFTER_FAILURE)

    with ThreadPoolExecutor(sum(count for count, _ in clients.values())) as threads:
        for name, (count, request) in clients.items():
            for _ in range(count):
                threads.submit(run, name, request)
        try:
            yield samples
        finally:
            ended.set()
