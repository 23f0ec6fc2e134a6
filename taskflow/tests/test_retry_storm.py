"""Retries over real sockets, against a real server that is killed in between: each key once."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from conftest import PROOF, build_fixtures, token_of
from taskflow.tenancy import inside
from taskflow.tests.test_readme import clean_environment, free_port, serve
from tasks.models import Task

THREADS, KEYS = (200, 50) if PROOF else (40, 10)
TIMEOUT = 120  # seconds


def database_url():
    """Return the DATABASE_URL of the tests' own database."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    given = urlsplit(os.environ["DATABASE_URL"])
    return given._replace(path=f"/{name}").geturl()


class Server:
    def __init__(self, directory: Path) -> None:
        self.port, self.directory = free_port(), directory
        self.environment = clean_environment(directory) | {
            "TASKFLOW_DEBUG": "0",
            "DATABASE_URL": database_url(),
        }
        self.process = self.start()

    def start(self):
        return serve(self.port, self.environment, self.directory / "log")

    def kill(self):
        """End all processes at once, as a power failure would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Client:
    """Sends one write until it has a response. Some of its connections are cut at random."""

    def __init__(self, server: Server, token: str, project: int, number: int) -> None:
        self.server, self.chance = server, random.Random(number)
        self.key = f"key-{number % KEYS}"
        self.body = json.dumps({"project_id": project, "title": self.key})
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": self.key,
        }
        self.response = None
        self.attempts = self.replays = 0

    def run(self):
        end = time.monotonic() + TIMEOUT
        while self.response is None and time.monotonic() < end:
            self.attempts += 1
            try:
                self.send()
            except OSError:
                time.sleep(self.chance.random() / 5)

    def send(self):
        way = self.chance.choice(["whole", "whole", "deaf", "half"])
        conn = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            conn.putrequest("POST", "/api/v1/tasks")
            for name, value in {**self.headers, "Content-Length": str(len(self.body))}.items():
                conn.putheader(name, value)
            conn.endheaders(self.body.encode()[: 10 if way == "half" else None])
            if way != "whole":
                conn.sock.shutdown(socket.SHUT_WR) if way == "half" else time.sleep(0.02)
                return  # without waiting for the response
            r = conn.getresponse()
            text = r.read()
            if r.status == 201:
                self.response = text
                self.replays = int(r.getheader("Idempotency-Replayed") == "true")
            elif r.status not in (409, 503):
                raise AssertionError(text)
            else:
                time.sleep(float(r.getheader("Retry-After")) * self.chance.random())
        finally:
            conn.close()


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_retries_with_one_key_write_once_although_server_and_connections_break(tmp_path):
    live = build_fixtures()
    token = token_of(live.ada)
    server = Server(tmp_path)
    clients = [Client(server, token, live.apollo.pk, number) for number in range(THREADS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    started = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        while sum(c.response is not None for c in clients) < THREADS // 4:
            time.sleep(0.01)
        server.kill()
        server.process = server.start()
        for thread in threads:
            thread.join(TIMEOUT)
    finally:
        server.kill()

    responses = defaultdict(set)
    for client in clients:
        responses[client.key].add(client.response)
    with inside(live.acme):
        titles = sorted(Task.objects.exclude(pk=live.task.pk).values_list("title", flat=True))
    attempts, replays = sum(c.attempts for c in clients), sum(c.replays for c in clients)
    print(
        f"\n{connection.vendor}: {THREADS} threads, {KEYS} keys, {attempts} attempts, one kill -9:"
        f" {len(titles)} creations, {replays} replayed responses,"
        f" {time.monotonic() - started:.1f} s"
    )
    assert titles == sorted(responses)
    assert all(len(same) == 1 and None not in same for same in responses.values())
