"""Clients that write, and a ledger of what was acknowledged, to compare with what is stored."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from taskflow.tests.chaos.database import Database

if TYPE_CHECKING:  # it imports PostgreSQL, which warns in some environments
    from taskflow.tests.chaos.installation import Installation

HOST = "127.0.0.1"
TIMEOUT = 20.0  # seconds
PAUSE = 0.1  # seconds after a request that failed
RECOVERY_SECONDS = 5.0  # for which another fault may still be felt
# A response with one of these is an honest refusal: nothing was written.
REFUSED = {503, 507}


@dataclass
class Ledger:
    """What was sent and what was acknowledged. The id of a title is None without a response."""

    created: dict[str, int | None] = field(default_factory=dict)
    bulks: list[tuple[list[str], bool]] = field(default_factory=list)  # titles, acknowledged
    states: dict[int, dict[str, str]] = field(default_factory=dict)  # of tasks, by field
    statuses: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def acknowledged(self) -> int:
        return sum(n for status, n in self.statuses.items() if status[0] == "2")

    @property
    def failed(self) -> Counter[str]:
        """Responses that are neither a success nor an honest refusal."""
        allowed = {str(status) for status in REFUSED}
        return Counter(
            {
                s: n
                for s, n in self.statuses.items()
                if s.isdigit() and s[0] != "2" and s not in allowed
            }
        )

    def compare(self, database: Database) -> dict[str, int]:
        """Return how many writes were lost, doubled and half-written."""
        rows: dict[str, list[int]] = {}
        stored: dict[int, dict[str, str]] = {}
        for pk, title, first, status in database.execute(TASKS):
            rows.setdefault(str(first), []).append(int(str(pk)))
            stored[int(str(pk))] = {"title": str(title), "status": str(status)}
        lost = sum(1 for t, pk in self.created.items() if pk and rows.get(t) != [pk])
        lost += sum(1 for titles, done in self.bulks if done and not all(t in rows for t in titles))
        lost += sum(
            stored.get(pk, {}).get(name) != value
            for pk, values in self.states.items()
            for name, value in values.items()
        )
        half = sum(0 < sum(t in rows for t in titles) < len(titles) for titles, _ in self.bulks)
        return {
            "lost": lost,
            "doubled": sum(len(ids) > 1 for ids in rows.values()),
            "half-written": half,
        }


# The tasks of the clients, with the title that each was created with (external_ref).
TASKS = "SELECT id, title, external_ref, status FROM tasks_task WHERE external_ref LIKE 'chaos-%'"


class Writer(threading.Thread):
    """Creates and changes tasks of its own, one request after the other."""

    def __init__(
        self, port: int, token: str, project: int, ledger: Ledger, ended: threading.Event, seed: int
    ) -> None:
        super().__init__(daemon=True)
        self.port, self.token, self.project = port, token, project
        self.ledger, self.ended, self.random = ledger, ended, random.Random(seed)
        self.own: list[int] = []

    def run(self) -> None:
        writes: list[Callable[[], None]] = [self.create, self.create_many, self.rename, self.finish]
        while not self.ended.is_set():
            chosen = self.create if len(self.own) < 3 else self.random.choice(writes)
            chosen()

    def send(self, method: str, path: str, body: object, key: str = "") -> dict[str, object] | None:
        """Return the response of a success, otherwise None."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        try:
            with closing(HTTPConnection(HOST, self.port, timeout=TIMEOUT)) as connection:
                text = None if body is None else json.dumps(body)
                connection.request(method, f"/api/v1{path}", text, headers)
                response = connection.getresponse()
                content, status = response.read(), str(response.status)
        except (OSError, HTTPException) as error:
            content, status = b"", type(error).__name__
        with self.ledger.lock:
            self.ledger.statuses[status] += 1
        if status[0] == "2":
            return dict(json.loads(content))
        self.ended.wait(PAUSE)
        return None

    def create(self) -> None:
        """Create a task, half of them with a key and then until it is acknowledged."""
        title = f"chaos-{uuid.uuid4()}"
        body = {"project_id": self.project, "title": title, "external_ref": title}
        key = str(uuid.uuid4()) if self.random.random() < 0.5 else ""
        self.ledger.created[title] = None
        while True:
            task = self.send("POST", "/tasks", body, key)
            if task is not None:
                pk = int(str(task["id"]))
                self.ledger.created[title] = pk
                self.ledger.states[pk] = {"title": title, "status": "todo"}
                self.own.append(pk)
            if task is not None or not key or self.ended.is_set():
                return

    def create_many(self) -> None:
        """Create several tasks in one request, which is done as a whole or not at all."""
        titles = [f"chaos-{uuid.uuid4()}" for _ in range(self.random.randint(2, 12))]
        data = [{"project_id": self.project, "title": t, "external_ref": t} for t in titles]
        operations = [{"op": "create", "data": task} for task in data]
        done = self.send("POST", "/tasks/bulk", {"operations": operations})
        self.ledger.bulks.append((titles, done is not None))

    def rename(self) -> None:
        title = f"renamed-{uuid.uuid4()}"
        self._change("title", title, "PATCH", "", {"title": title})

    def finish(self) -> None:
        self._change("status", "done", "POST", "/completion", None)

    def _change(self, name: str, value: str, method: str, path: str, body: object) -> None:
        pk = self.random.choice(self.own)
        before = self.ledger.states[pk].pop(name, None)
        if self.send(method, f"/tasks/{pk}{path}", body) is not None or before == value:
            self.ledger.states[pk][name] = value


@contextmanager
def writing(installation: Installation, clients: int) -> Iterator[Ledger]:
    """Write from so many clients while the block runs."""
    server, ledger, ended = installation.server, Ledger(), threading.Event()
    project = create_project(installation)
    writers = [
        Writer(installation.port, server.token, project, ledger, ended, n) for n in range(clients)
    ]
    for writer in writers:
        writer.start()
    try:
        yield ledger
    finally:
        ended.set()
        for writer in writers:
            writer.join(2 * TIMEOUT)


def create_project(installation: Installation) -> int:
    """Create the project of the writers. Repeated while the server recovers from another fault."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        status, text = installation.server.call("POST", "/api/v1/projects", {"name": "Chaos"})
        if status == 201:
            return int(json.loads(text)["id"])
        assert status == 503, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
