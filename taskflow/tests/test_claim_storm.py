"""Many workers claim the same tasks from a real server: each task is done once.

Some workers die, some are too slow, their clocks jump, and the server is killed in between.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from conftest import PROOF, build_fixtures, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from taskflow.tests.test_retry_storm import Server
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Claim, Task

pytestmark = [pytest.mark.slow, pytest.mark.proof, pytest.mark.django_db(transaction=True)]
TASKS, WORKERS = (5000, 64) if PROOF else (60, 8)
DYING, TOO_SLOW = (0.02, 0.01) if PROOF else (0.05, 0.05)  # of all claims
TRIAL_TASKS = 300 if PROOF else 40
TTL = 5  # seconds, the shortest
TIMEOUT = 1800 if PROOF else 240  # seconds


class Fleet:
    """The workers, and what all of them have seen."""

    def __init__(self, server: Server, token: str) -> None:
        self.server, self.token = server, token
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.finished: Counter[int] = Counter()  # accepted completions by task
        self.worked: Counter[int] = Counter()  # works that were begun by task
        self.late: list[int] = []  # statuses that late writers got
        self.end = time.monotonic() + TIMEOUT

    def count(self, name: str) -> None:
        with self.lock:
            self.counts[name] += 1

    def send(self, method, path, body, **headers):
        """Send a request until it is answered. Return the status and the JSON of the answer."""
        sent = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid4()),
            **headers,
        }
        while time.monotonic() < self.end:
            conn = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            try:
                conn.request(method, f"/api/v1{path}", json.dumps(body), sent)
                r = conn.getresponse()
                text = r.read()
                if r.status not in (429, 503) and not (r.status == 409 and b"in_progress" in text):
                    return r.status, json.loads(text) if text else None
                time.sleep(0.2)
            except (OSError, http.client.HTTPException):
                self.count("broken connections")
                time.sleep(0.1)
            finally:
                conn.close()
        raise AssertionError("The server did not answer in time.")


class Worker(threading.Thread):
    def __init__(self, fleet: Fleet, number: int, *, is_reliable: bool) -> None:
        super().__init__()
        self.fleet, self.number, self.is_reliable = fleet, number, is_reliable
        self.chance = random.Random(number)

    def run(self):
        idle = 0
        # Tasks of workers that have died come back only when their claims have expired.
        while idle < (2 if self.is_reliable else TTL * 4):
            status, answer = self.fleet.send(
                "POST", "/claims", {"ttl_seconds": TTL, "worker": f"w{self.number}"}
            )
            if status == 204:
                idle += 1
                time.sleep(0.3)
            else:
                assert status == 201, answer
                idle = 0
                self.work(answer["data"][0])

    def work(self, claim):
        fate = self.chance.random()
        with self.fleet.lock:
            self.fleet.worked[claim["task"]["id"]] += 1
        if not self.is_reliable and fate < DYING:
            self.fleet.count("dead workers")
            return
        if not self.is_reliable and fate < DYING + TOO_SLOW:
            time.sleep(TTL + 0.5)
            self.write_late(claim)
            return
        time.sleep(self.chance.random() / 100)
        # The clock of the worker jumps by up to an hour, so it sends needless heartbeats.
        now = datetime.fromisoformat(claim["expires_at"]) - timedelta(seconds=TTL)
        if now + timedelta(minutes=self.chance.randint(-60, 60)) > now:
            self.fleet.send("PATCH", f"/claims/{claim['id']}", {"progress": 50})
        status, answer = self.finish(claim)
        if status == 200:
            with self.fleet.lock:
                self.fleet.finished[claim["task"]["id"]] += 1
        else:  # the server was down for longer than the claim
            assert (status, answer["code"]) == (409, "claim_lost"), answer
            self.fleet.count("lost while the server was down")

    def finish(self, claim):
        body = {"outcome": "completed", "result": {"worker": self.number}}
        return self.fleet.send("POST", f"/claims/{claim['id']}/completion", body)

    def write_late(self, claim):
        header = {"Claim": str(claim["id"])}
        writes = [
            self.finish(claim),
            self.fleet.send("PATCH", f"/claims/{claim['id']}", {}),
            self.fleet.send("PATCH", f"/tasks/{claim['task']['id']}", {"title": "late"}, **header),
        ]
        self.fleet.late += [status for status, _ in writes]


def run_fleet(tmp_path, tasks, workers, *, is_reliable):
    live = build_fixtures()
    with inside(live.acme):
        new = [CreateTask(live.apollo, f"Task {n}") for n in range(tasks)]
        for start in range(0, tasks, 500):
            create_tasks(live.ada, new[start : start + 500])
    server = Server(tmp_path)
    fleet = Fleet(server, token_of(live.bot))
    threads = [Worker(fleet, number, is_reliable=is_reliable) for number in range(workers)]
    started = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        if not is_reliable:
            while sum(fleet.finished.values()) < tasks // 3:
                time.sleep(0.05)
            server.kill()
            server.process = server.start()
        for thread in threads:
            thread.join(TIMEOUT)
    finally:
        server.kill()
    return live, fleet, time.monotonic() - started


def test_each_task_is_done_once_although_workers_die_and_the_server_is_killed(tmp_path):
    live, fleet, seconds = run_fleet(tmp_path, TASKS, WORKERS, is_reliable=False)

    with inside(live.acme):
        done = Task.objects.filter(title__startswith="Task ", status="done").count()
        titles = Task.objects.filter(title="late").count()
        events = Event.objects.filter(subject_type="task", verb="completed")
        completions = Counter(events.values_list("subject_id", flat=True))
        expired = Claim.objects.filter(end="expired").count()
    print(
        f"\n{connection.vendor}: {TASKS} tasks, {WORKERS} workers, one kill -9: {done} done,"
        f" {len(completions)} distinct completions, {expired} expired claims taken over,"
        f" {len(fleet.late)} late writes, {fleet.late.count(409)} of them refused,"
        f" {dict(fleet.counts)}, {seconds:.1f} s"
    )
    assert (done, len(completions), max(completions.values())) == (TASKS, TASKS, 1)
    assert max(fleet.finished.values()) == 1
    assert fleet.late
    assert (set(fleet.late), titles) == ({409}, 0)


def test_eight_processes_of_one_agent_do_no_task_twice(tmp_path):
    _live, fleet, seconds = run_fleet(tmp_path, TRIAL_TASKS, 8, is_reliable=True)

    double = sum(count - 1 for count in fleet.worked.values())
    print(
        f"\n{connection.vendor}: 8 workers of one agent, {TRIAL_TASKS} tasks:"
        f" {len(fleet.worked)} worked on, {double} double works, {seconds:.1f} s"
    )
    assert (len(fleet.worked), double) == (TRIAL_TASKS, 0)
    assert len(fleet.finished) == TRIAL_TASKS
