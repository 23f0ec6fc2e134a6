"""
Proof: deliverers that are killed again and again lose no event and keep the order of each subject.

A server takes changes while two deliverers, which kill -9 ends at random, send them to a receiver
that fails, or closes the connection after it has the request, at random. Each event must arrive at
least once, always with the same webhook-id, and the deliveries of each task in the order of its
events. The proof prints its figures.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from conftest import PROOF
from taskflow.tests.chaos.installation import DATABASES, Installation, installed
from taskflow.tests.server import ROOT
from taskflow.tests.slow_clients import Server
from tasks.tests.receivers import Receiver, receiving

pytestmark = [pytest.mark.proof, pytest.mark.one_database]

TASKS = 50
ROUNDS = 100 if PROOF else 4  # each changes all tasks: one event for each of them
KILLS = 20 if PROOF else 2
DELIVERERS = 2
WAIT_SECONDS = 300


class FailingReceiver(Receiver):
    """Fails at random, also after it has taken the request. Counts what it has accepted."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        chance = random.random()
        self.behaviour = "die" if chance < 0.02 else ""
        self.fail_with = 503 if chance > 0.97 else None
        super().answer(handler)


@contextmanager
def delivering(installation: Installation) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run deliverers. Yield their processes; kill_one() replaces one of them."""
    processes = [start_deliverer(installation) for _ in range(DELIVERERS)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def start_deliverer(installation: Installation) -> subprocess.Popen[bytes]:
    with (installation.directory / "deliverers.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "tasks.tests.impatient_deliverer"],
            cwd=ROOT,
            env=installation.environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def kill_one(installation: Installation, processes: list[subprocess.Popen[bytes]]) -> None:
    position = random.randrange(len(processes))
    processes[position].send_signal(signal.SIGKILL)
    processes[position].wait()
    processes[position] = start_deliverer(installation)


def change_all(server: Server, ids: list[int], number: int) -> None:
    data = {"title": f"round {number}"}
    operations = [{"op": "update", "id": pk, "data": data} for pk in ids]
    for start in range(0, len(operations), 25):
        answer = send(server, "/tasks/bulk", {"operations": operations[start : start + 25]})
        assert answer["succeeded"] == 25, answer


def send(server: Server, path: str, body: object) -> dict:
    status, text = server.call("POST", f"/api/v1{path}", body)
    assert status in (200, 201), text
    return json.loads(text)


def list_events(installation: Installation, first_task: int) -> list[int]:
    """Return the ids of the events of the tasks' changes, oldest first."""
    sql = (
        "SELECT id FROM audit_event WHERE subject_type = 'task' AND verb = 'changed'"
        f" AND subject_id >= {first_task} ORDER BY id"
    )
    return [int(str(pk)) for (pk,) in installation.database.execute(sql)]


def wait_for(receiver: Receiver, expected: set[int]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not expected <= {pk for pks in list_ids(receiver) for pk in pks}:
        assert time.monotonic() < deadline, f"{len(receiver.received)} requests"
        time.sleep(0.5)


def list_ids(receiver: Receiver) -> list[list[int]]:
    return [[e["id"] for e in r.document["data"]["events"]] for r in list(receiver.received)]


@pytest.mark.parametrize("name", DATABASES)
def test_killed_deliverers_lose_no_event_and_keep_the_order(name):
    settings = {"TASKFLOW_WEBHOOK_ALLOW": "127.0.0.1", "TASKFLOW_DELIVER": "0"}
    with (
        receiving(FailingReceiver()) as receiver,
        installed(DATABASES[name], settings=settings) as installation,
    ):
        server = installation.server
        server.timeout = WAIT_SECONDS  # the deliverers use most of the machine
        created = [
            send(server, "/tasks", {"project": "WEB", "title": f"t{n}"})["id"] for n in range(TASKS)
        ]
        hook = {"url": receiver.url, "project": "WEB", "event_types": ["task.changed"]}
        send(server, "/webhooks", hook)
        started = time.monotonic()
        with delivering(installation) as processes:
            kill_at = set(random.sample(range(ROUNDS), min(KILLS, ROUNDS)))
            for number in range(ROUNDS):
                change_all(server, created, number)
                if number in kill_at:
                    time.sleep(random.uniform(0.2, 1.5))
                    kill_one(installation, processes)
            events = list_events(installation, created[0])
            wait_for(receiver, set(events))
        seconds = time.monotonic() - started
        report(name, receiver, events, seconds)
        check(receiver, events)


def report(name: str, receiver: Receiver, events: list[int], seconds: float) -> None:
    counts = Counter(pk for pks in list_ids(receiver) for pk in pks)
    repeated = sum(count > 1 for count in counts.values())
    print(
        f"\n{name}: {len(events):,} events, {KILLS} kills, {len(receiver.received):,} requests in"
        f" {seconds:.0f} s; {repeated} events arrived more than once, 0 lost"
    )


def check(receiver: Receiver, events: list[int]) -> None:
    assert len(events) == ROUNDS * TASKS
    messages = defaultdict(set)
    by_subject = defaultdict(list)
    for received in receiver.received:
        for event in received.document["data"]["events"]:
            messages[event["id"]].add(received.message_id)
            by_subject[event["subject"]["id"]].append(event["id"])
    assert set(events) == messages.keys()
    assert {len(ids) for ids in messages.values()} == {1}, "an event has two deliveries"
    for order in by_subject.values():
        assert order == sorted(order), "a later event of a subject arrived before an earlier one"
