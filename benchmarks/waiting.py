"""
Readers that wait for events: how soon they get one, what they cost, and what others notice of them.

    python -m benchmarks.waiting [--database postgresql] [--readers 1000] [--rounds 5]
        [--write] [--short]

starts a server as `make run` does, with tenants of its own, and prints tables. docs/events.md has
the figures. With --write they are put into benchmarks/RESULTS.md as well; --short is for trying it,
with few readers.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import report
from benchmarks.common import say
from taskflow.tests.postgres import start as start_postgresql
from taskflow.tests.postgres import url_of

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")

# Its imports read the settings.
from taskflow.tests.server import (
    clean_environment,
    free_port,
    list_children,
    serve,
    stop,
)

HOST = "127.0.0.1"
PAUSE_SECONDS = 1.0
REPEAT_SECONDS = 0.1  # how often readers look whether they may ask again after a refusal
PROBES = 1_500  # ordinary requests of one measurement
EVENT = b"event: task.created"
TENANTS = 20  # over which readers are spread


@dataclass
class Reader:
    """One connection that waits: with a long poll, or for a stream."""

    token: str
    kind: str
    connection: socket.socket
    cursor: str = ""
    received: bytes = b""
    got: list[float] = field(default_factory=list)  # when events came, by time.perf_counter()
    refusals: Counter[str] = field(default_factory=Counter)  # of polls, by their code
    asks_at: float | None = None  # after a refusal: when it may ask again, as Retry-After says

    def ask(self) -> None:
        self.asks_at = None
        wait = f"&after={self.cursor}" if self.cursor else ""
        accept = "text/event-stream" if self.kind == "stream" else "application/json"
        self.connection.sendall(
            f"GET /api/v1/events?wait=25{wait} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n".encode()
        )

    def take(self) -> None:
        """Read what has come. A poll that is answered sends the next one; one that is refused does
        so after the seconds of Retry-After.
        """
        self.received += self.connection.recv(65_536)
        if self.kind == "stream":
            count = self.received.count(EVENT)
            self.got += [time.perf_counter()] * count
            if count:
                self.received = b""
            return
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().split(b"content-length:")[1].split()[0]):
            return
        answer, self.received = json.loads(body), b""
        if "data" in answer:
            self.got += [time.perf_counter()] * len(answer["data"])
            self.cursor = answer["next_cursor"]
            self.ask()
        else:
            self.refusals[answer["code"]] += 1
            seconds = float(head.lower().split(b"retry-after:")[1].split()[0])
            self.asks_at = time.perf_counter() + seconds


class Readers:
    """All readers, in one thread."""

    def __init__(self, port: int, tokens: Sequence[str], kind: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.readers = []
        for token in tokens:
            connection = socket.create_connection((HOST, port))
            reader = Reader(token, kind, connection)
            reader.ask()
            self.readers.append(reader)
            self.selector.register(connection, selectors.EVENT_READ, reader)
            self.run(0.002)
        self.run(PAUSE_SECONDS + len(tokens) / 1000)

    def run(self, seconds: float, until: int | None = None) -> None:
        """Read for so long, or until each of all readers together has got so many events."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            for key, _ in self.selector.select(min(left, REPEAT_SECONDS)):
                key.data.take()
            now = time.perf_counter()
            for reader in self.readers:
                if reader.asks_at is not None and reader.asks_at <= now:
                    reader.ask()
            if until is not None and sum(len(reader.got) for reader in self.readers) >= until:
                return

    def close(self) -> None:
        for reader in self.readers:
            reader.connection.close()
        self.selector.close()


def call(port: int, token: str, method: str, path: str, body: object = None) -> float:
    """Send a request. Return when it was answered."""
    connection = HTTPConnection(HOST, port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    text = response.read()
    answered = time.perf_counter()
    connection.close()
    assert response.status < 300, text
    return answered


def measure_latency(
    port: int, server: int, kind: str, groups: Sequence[tuple[str, Sequence[str]]], rounds: int
) -> tuple[list[float], float, Counter[str]]:
    """Return the milliseconds from the answer to each write until each reader had its event; those
    of CPU that the processes of the server have used for one reader and one event; and how many
    polls were refused, by code.

    `groups` are the writer and the readers of each tenant. A poll that was answered sends the next
    one, whose first run is in the CPU time.
    """
    tokens = [token for _, of_tenant in groups for token in of_tenant]
    readers = Readers(port, tokens, kind)
    latencies = []
    began = measure_cpu(server)
    for _ in range(rounds):
        for reader in readers.readers:
            reader.got.clear()
        written: dict[int, float] = {}

        def write(written: dict[int, float] = written) -> None:
            for number, (writer, _) in enumerate(groups):
                body = {"project": "FEED", "title": "An event"}
                written[number] = call(port, writer, "POST", "/api/v1/tasks", body)

        thread = threading.Thread(target=write)
        thread.start()
        readers.run(30, until=len(tokens))
        thread.join()
        position = 0
        for number, (_, of_tenant) in enumerate(groups):
            for reader in readers.readers[position : position + len(of_tenant)]:
                for got in reader.got or [float("inf")]:
                    latencies.append(max(0.0, got - written[number]) * 1000)
            position += len(of_tenant)
        readers.run(PAUSE_SECONDS + len(tokens) / 500)  # until all polls wait again
    used = measure_cpu(server) - began
    readers.close()
    refusals = sum((reader.refusals for reader in readers.readers), Counter())
    return latencies, used * 1000 / rounds / len(tokens), refusals


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def measure_cpu(server: int) -> float:
    """Return the seconds of CPU that all processes of the server have used."""
    ticks, processes = 0, [server]
    while processes:
        process = processes.pop()
        processes += list_children(process)
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_memory(server: int) -> float:
    """Return the megabytes of all processes of the server; what they share counts once."""
    total, processes = 0, [server]
    while processes:
        process = processes.pop()
        processes += list_children(process)
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def probe(port: int, token: str) -> list[float]:
    """Return the milliseconds of ordinary requests, one after the other."""
    connection, times = HTTPConnection(HOST, port, timeout=60), []
    for _ in range(PROBES):
        started = time.perf_counter()
        connection.request("GET", "/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
    connection.close()
    return times


@contextmanager
def databases(kind: str, directory: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of an installation with this kind of database."""
    environment = clean_environment(directory) | {"TASKFLOW_DEBUG": "0"}
    if kind == "sqlite":
        yield environment
        return
    server = start_postgresql(f"{directory}/d")
    try:
        yield environment | {"DATABASE_URL": url_of(f"{directory}/d", "ordinary")}
    finally:
        server.cleanup()


def row(
    name: str, latencies: Sequence[float], cpu: float, refusals: Counter[str]
) -> tuple[str, ...]:
    missing = sum(latency == float("inf") for latency in latencies)
    figures = [f"{percentile(latencies, p):,.0f}" for p in (50, 95, 99)]
    refused = ", ".join(f"{count} {code}" for code, count in refusals.items())
    return name, *figures, str(missing), f"{cpu:.2f}", refused


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="into benchmarks/RESULTS.md")
    parser.add_argument("--short", action="store_true", help="a quick trial; writes no file")
    if parser.parse_args().short:
        parser.set_defaults(readers=20, rounds=1, write=False)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfw") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with databases(options.database, directory) as environment:
            port = free_port()
            process = serve(port, environment, directory / "log")
            try:
                numbers = [str(options.readers), str(TENANTS)]
                seeded = subprocess.run(  # noqa: S603 - our own program
                    [sys.executable, "-m", "benchmarks.waiting_seed", *numbers],
                    env=environment, stdout=subprocess.PIPE, text=True, check=True,
                )  # fmt: skip
                tenants = json.loads(seeded.stdout.splitlines()[-1])
                text = measure(port, process.pid, tenants, options)
            finally:
                stop(process)
    say(text)
    if options.write and not options.short:
        report.write_section("Feed readers", text)


def measure(port: int, server: int, tenants: dict[str, list], options: argparse.Namespace) -> str:
    """Return the tables as Markdown."""
    rows = []
    one_writer, own_tokens = tenants["one"]
    for kind in ("poll", "stream"):
        for text, groups in (
            ("spread over tenants", tenants["spread"]),
            ("of one tenant, one token", [[one_writer, [own_tokens[0]] * options.readers]]),
            ("of one tenant, a token each", [[one_writer, own_tokens]]),
        ):
            measured = measure_latency(port, server, kind, groups, options.rounds)
            rows.append(row(f"{kind}s, {text}", *measured))
            say(f"  {'  '.join(rows[-1])}")
    probe(port, one_writer)
    idle, before = [], measure_memory(server)
    waiting = []
    for _ in range(3):
        idle.append(percentile(probe(port, one_writer), 99))
        readers = Readers(port, own_tokens, "stream")
        after = measure_memory(server)
        waiting.append(percentile(probe(port, one_writer), 99))
        readers.close()
    heads = ("readers", "median ms", "95 %", "99 %", "missing", "server CPU ms", "refusals")
    return (
        f"`python -m benchmarks.waiting`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. TaskFlow on"
        f" {options.database}, {options.readers} readers that wait for events, {options.rounds}"
        " round(s). From the answer to a write until each reader has its event; CPU for one reader"
        " and one event. The peers have no feed.\n\n"
        f"{report.table(heads, rows)}\n"
        f"Memory of all processes of the server: {before:.0f} MB before, {after:.0f} MB while they"
        f" wait. p99 of `GET /me`: {statistics.median(idle):.1f} ms alone,"
        f" {statistics.median(waiting):.1f} ms while they wait.\n"
    )


if __name__ == "__main__":
    main()
