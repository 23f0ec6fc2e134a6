"""A running server loads new code on SIGHUP, and no client notices.

The code is installed as docs/operations.md describes it: a symbolic link leads to a release.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.request import urlopen

import pytest

from conftest import PROOF
from taskflow.tests.server import (
    ROOT,
    clean_environment,
    demo_environment,
    free_port,
    is_running,
    list_children,
    list_workers,
    reload,
    stop,
)

pytestmark = [pytest.mark.slow, pytest.mark.readme, pytest.mark.proof]

CLIENTS = 6
BULKS, BULK_ROWS = 12, 100
FRONT = "taskflow/front/front.py"
OLD, NEW = '"status": "ok"', '"status": "new"'


def wait_until(condition: Callable[[], object], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def copy_releases(folder: Path) -> None:
    """Copy the code twice. The new release answers /livez differently."""
    for release in ("old", "new"):
        for name in ("taskflow", "accounts", "tasks"):
            shutil.copytree(
                ROOT / name, folder / release / name, ignore=shutil.ignore_patterns("tests")
            )
        shutil.copy(ROOT / "manage.py", folder / release)
    front = folder / "new" / FRONT
    front.write_text(front.read_text().replace(OLD, NEW))


class Installation:
    """A server of two workers that runs from a link to one of two releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.link("old")
        self.port = free_port()
        self.log = folder / "log"
        (folder / "notify").unlink(missing_ok=True)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.setblocking(False)

    def link(self, release: str) -> None:
        """Point the link to a release, in one step."""
        (self.folder / "next").symlink_to(self.folder / release)
        (self.folder / "next").replace(self.folder / "current")

    def start(self, *options: str, **variables: str) -> None:
        environment = clean_environment(self.folder / "data") | variables
        environment["NOTIFY_SOCKET"] = str(self.folder / "notify")
        manage = str(self.folder / "current/manage.py")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, manage, "serve", "--port", str(self.port), "--workers", "2", *options],
                cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: "TaskFlow is on" in self.log.read_text())
        self.token = re.search(r"Token +(tf_\S+)", self.log.read_text())[1]

    def notifications(self) -> list[str]:
        """Return the messages to the service manager since the last call, without WATCHDOG=1."""
        received = []
        while True:
            try:
                received.append(self.notified.recv(1000).decode())
            except BlockingIOError:
                return [text for text in received if text != "WATCHDOG=1"]

    def pools(self) -> list[int]:
        return list_children(self.process.pid)

    def livez(self) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}/livez") as response:
            return response.read().decode()


class Client(threading.Thread):
    """Makes one request after the other, and notes those without an answer."""

    def __init__(self, server: Installation, *, keeps_connection: bool) -> None:
        super().__init__()
        self.server = server
        self.keeps_connection = keeps_connection
        self.created: list[str] = []
        self.failures: list[object] = []
        self.is_ending = False

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        while not self.is_ending:
            try:
                self.send(connection, "GET", "/me", None, 200)
                body = json.dumps({"project": "WEB", "title": "x"})
                created = self.send(connection, "POST", "/tasks", body, 201)
                if created:
                    self.created.append(json.loads(created)["key"])
            except (OSError, HTTPException) as error:
                self.failures.append(error)
                connection.close()
            if not self.keeps_connection:
                connection.close()
        connection.close()

    def send(
        self, connection: HTTPConnection, method: str, path: str, body: str | None, status: int
    ) -> bytes:
        """Return the body of the response, or nothing after noting another status."""
        headers = {
            "Authorization": f"Bearer {self.server.token}",
            "Content-Type": "application/json",
        }
        connection.request(method, f"/api/v1{path}", body, headers)
        response = connection.getresponse()
        text = response.read()
        time.sleep(0.01)  # the writers of SQLite take turns only if they leave some time
        if response.status == status:
            return text
        self.failures.append((response.status, text))
        return b""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installation")
    copy_releases(folder)
    demo_environment(folder / "data")
    return folder


@pytest.fixture
def server(folder):
    installation = Installation(folder)
    yield installation
    if installation.process.poll() is None:
        stop(installation.process)
    installation.notified.close()


@pytest.fixture
def clients(server):
    """clients() starts six clients that make requests all the time."""
    started: list[Client] = []

    def start() -> list[Client]:
        started.extend(Client(server, keeps_connection=bool(n % 2)) for n in range(CLIENTS))
        for client in started:
            client.start()
        return started

    yield start
    for client in started:
        client.is_ending = True
        client.join()


def list_failures(clients: list[Client]) -> list[object]:
    for client in clients:
        client.is_ending = True
        client.join()
    return [failure for client in clients for failure in client.failures]


def is_stored(server: Installation, key: str) -> bool:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(
        "GET", f"/api/v1/tasks/{key}", headers={"Authorization": f"Bearer {server.token}"}
    )
    status = connection.getresponse().status
    connection.close()
    return status == 200


def test_hangup_loads_another_release_and_no_request_fails(server, clients):
    server.start()
    (former,) = server.pools()
    running = clients()
    wait_until(lambda: all(client.created for client in running))

    releases = (("new", NEW), ("old", OLD)) * 5 if PROOF else (("new", NEW),)
    for release, status in releases:
        server.link(release)
        reload(server.process, server.log)
        wait_until(lambda: len(server.pools()) == 1)
        assert status in server.livez()

    failures = list_failures(running)
    created = [key for client in running for key in client.created]
    print(f"{len(created)} tasks created, {len(failures)} failures")
    assert failures == []
    assert len(created) == len(set(created)) > CLIENTS
    assert all(is_stored(server, key) for key in created[:: max(1, len(created) // 50)])
    assert server.pools() != [former]
    assert server.process.poll() is None
    received = server.notifications()
    assert received[0] == "READY=1\nSTATUS=The workers answer."
    assert received[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert received[2] == "READY=1\nSTATUS=New workers answer."
    stop(server.process)
    assert server.notifications() == ["STOPPING=1"]


def test_bulk_requests_in_flight_are_answered_or_refused_when_the_server_stops(server):
    server.start()
    with ThreadPoolExecutor(BULKS) as pool:
        sent = [pool.submit(send_bulk, server, number) for number in range(BULKS)]
        time.sleep(0.3)  # until all have been accepted
        stop(server.process)
        statuses = [future.result() for future in sent]

    server.start()
    for number, status in enumerate(statuses):
        assert status in (200, 503), statuses
        stored = list_titles(server, f"bulk{number}x")
        assert len(stored) == (BULK_ROWS if status == 200 else 0), statuses
    print(f"{statuses.count(200)} of {BULKS} bulk requests were carried out")
    assert 200 in statuses


def send_bulk(server: Installation, number: int) -> int:
    """Create tasks with one request. Return the status of the response."""
    tasks = [{"project": "WEB", "title": f"bulk{number}x {n}"} for n in range(BULK_ROWS)]
    body = json.dumps({"operations": [{"op": "create", "data": task} for task in tasks]})
    return request(server, "POST", "/tasks/bulk", body)[0]


def list_titles(server: Installation, start: str) -> list[str]:
    _, text = request(server, "GET", f"/tasks?limit=200&q={start}")
    titles = [task["title"] for task in json.loads(text)["data"]]
    return [title for title in titles if title.startswith(start)]


def request(
    server: Installation, method: str, path: str, body: str | None = None
) -> tuple[int, bytes]:
    """Send one request on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {
        "Authorization": f"Bearer {server.token}",
        "Content-Type": "application/json",
    }
    connection.request(method, f"/api/v1{path}", body, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, text


def test_release_that_cannot_start_leaves_the_former_workers(server):
    server.start()
    former = server.pools()
    shutil.copytree(server.folder / "new", server.folder / "broken")
    (server.folder / "broken/taskflow/urls.py").write_text("this is no Python")
    server.link("broken")

    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "The former workers go on." in server.log.read_text())

    assert server.pools() == former
    assert OLD in server.livez()
    assert "The former workers go on." in server.notifications()[-1]


def test_killed_worker_is_started_again_and_workers_end_with_a_killed_server(server):
    server.start()
    (pool,) = server.pools()
    first, second = list_workers(server.process.pid)

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(set(list_workers(server.process.pid)) - {first, second}) == 1)

    workers = list_children(pool)  # and the process that sends webhooks
    assert second in workers
    assert "worker 1 ended with -9 and is started again" in server.log.read_text()
    for _ in range(20):
        assert OLD in server.livez()

    server.process.kill()
    server.process.wait()

    wait_until(lambda: not any(map(is_running, (pool, *workers))), 10)


def test_watchdog_is_reset_while_the_server_answers(server):
    server.start(WATCHDOG_USEC="300000")

    def receive() -> bytes:
        return server.notified.recv(1000)

    server.notified.settimeout(20)
    while receive() != b"WATCHDOG=1":
        pass
    assert receive() == b"WATCHDOG=1"
    (pool,) = server.pools()
    workers = list_children(pool)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        time.sleep(0.3)
        server.notified.setblocking(False)
        server.notifications()
        time.sleep(0.5)
        with pytest.raises(BlockingIOError):
            receive()
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
