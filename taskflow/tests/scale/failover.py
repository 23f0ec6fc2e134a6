"""Kill the primary under load and promote its standby, while TaskFlow goes on running."""

from __future__ import annotations

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from taskflow.tests.chaos.installation import Installation, installed, wait_until
from taskflow.tests.chaos.ledger import HOST, TIMEOUT, create_project
from taskflow.tests.scale.replication import ReplicatedPostgreSQL

WRITERS, WORKERS = 8, 2
PAUSE = 0.02  # seconds after a refusal
WRITES = 1_000  # acknowledged before the primary is killed
LOAD_SECONDS = 600.0  # within which they have to be acknowledged
AWAY_SECONDS = 2.0  # between the death of the primary and the command to promote the standby
RECOVERY_SECONDS = 30.0
FIRST_SUCCESS = 1.0  # seconds after the standby accepts writes
STORED = "SELECT title FROM tasks_task WHERE title LIKE 'failover-%'"


@dataclass(frozen=True)
class Answer:
    """What a client got that wanted to create a task with a title of its own."""

    sent_at: float
    answered_at: float
    status: str  # or the name of an exception
    has_retry_after: bool
    title: str

    @property
    def is_acknowledged(self) -> bool:
        return self.status == "201"

    @property
    def is_refusal(self) -> bool:
        """Whether it is a 503 that says when to try again."""
        return self.status == "503" and self.has_retry_after


class Writers:
    """Clients that create tasks, one after the other."""

    def __init__(self, installation: Installation) -> None:
        self.port, self.token = installation.port, installation.server.token
        self.project = create_project(installation)
        self.answers: list[Answer] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.answers.append(answer := self.create_task())
            self.ended.wait(0 if answer.is_acknowledged else PAUSE)

    def create_task(self) -> Answer:
        title, sent_at = f"failover-{uuid.uuid4()}", time.monotonic()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        status, has_retry_after = "", False
        try:
            with closing(HTTPConnection(HOST, self.port, timeout=TIMEOUT)) as connection:
                body = json.dumps({"project_id": self.project, "title": title})
                connection.request("POST", "/api/v1/tasks", body, headers)
                response = connection.getresponse()
                response.read()
                status = str(response.status)
                has_retry_after = "Retry-After" in response.headers
        except (OSError, HTTPException) as error:
            status = type(error).__name__
        return Answer(sent_at, time.monotonic(), status, has_retry_after, title)

    def count(self) -> int:
        """Return how many tasks were acknowledged."""
        return sum(answer.is_acknowledged for answer in [*self.answers])

    def first_success_after(self, moment: float) -> float | None:
        """Return after how many seconds a task was acknowledged; None if none was."""
        times = [a.answered_at for a in [*self.answers] if a.is_acknowledged]
        return min((t - moment for t in times if t > moment), default=None)


def fail_over() -> list[str]:
    """Return the lines of the report. Raises AssertionError if a promise is not kept."""
    with installed(ReplicatedPostgreSQL, WORKERS) as installation:
        database = installation.database
        assert isinstance(database, ReplicatedPostgreSQL)
        workers, writers = installation.worker_ids(), Writers(installation)
        with ThreadPoolExecutor(WRITERS) as threads:
            for _ in range(WRITERS):
                threads.submit(writers.run)
            try:
                assert wait_until(lambda: writers.count() >= WRITES, LOAD_SECONDS), writers.count()
                killed = time.monotonic()
                database.kill()
                time.sleep(AWAY_SECONDS)
                begun, promoted = database.promote()
                wait_until(
                    lambda: writers.first_success_after(promoted) is not None, RECOVERY_SECONDS
                )
                time.sleep(1.0)
            finally:
                writers.ended.set()
        stored = {str(title) for (title,) in database.execute(STORED)}
        assert installation.worker_ids() == workers, "A worker was restarted."
        assert installation.verify() == "All values are right.", installation.verify()
    return describe(writers, stored, killed, begun, promoted)


def describe(
    writers: Writers, stored: set[str], killed: float, begun: float, promoted: float
) -> list[str]:
    """Check the answers, and return the lines of the report."""
    acknowledged = {answer.title for answer in writers.answers if answer.is_acknowledged}
    others = [answer for answer in writers.answers if not answer.is_acknowledged]
    wrong = [answer for answer in others if not answer.is_refusal]
    slowest = max(answer.answered_at - answer.sent_at for answer in others)
    first = writers.first_success_after(promoted)
    lost = acknowledged - stored
    assert not wrong, wrong[:5]
    assert not lost, lost
    assert first is not None, "No write has succeeded again."
    assert first <= FIRST_SUCCESS, first
    return [
        f"{len(acknowledged):,} writes were acknowledged, {len(lost)} of them are lost",
        f"{len(others):,} writes were refused, all with 503 and Retry-After, the slowest after"
        f" {slowest:.2f} s",
        f"the standby accepted writes {promoted - begun:.2f} s after the command to promote it, and"
        f" {promoted - killed:.2f} s after the primary was killed",
        f"the first write succeeded {first:.2f} s after that; no process of TaskFlow was restarted",
    ]
