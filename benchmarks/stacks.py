"""The four servers: start them, send them requests and measure their cost."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil

from benchmarks.common import HOME, OTHER_CORE, REPO, SERVER_CORE, Failed, say
from benchmarks.database import Database
from benchmarks.workloads import Request, Workload

PEERS = ("usual", "tuned", "bare")
STACKS = ("taskflow", *PEERS)
WARM_UP, WARM_UP_BULK = 80, 12  # requests before each measurement, each stack the same number
IDLE_SECONDS = 0.1  # a server that is idle for so long has nothing left to do
LONGEST_WAIT = 10  # seconds
IDLE_CPU = 0.02  # seconds of CPU that an idle server may use in IDLE_SECONDS
START_TIMEOUT = 240  # seconds until a server must have answered
RESULT = re.compile(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)
BAD = re.compile(r"^BAD (.*)$", re.MULTILINE)

UVICORN = (
    "uvicorn --host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log"
    " --log-level warning benchmarks.peers.{name}:app"
)
COMMANDS = {
    # the process that `manage.py serve` starts
    "taskflow": "python -m taskflow.serving 127.0.0.1 {port} 1",
    "usual": UVICORN,
    "tuned": UVICORN,
    "bare": "granian --interface rsgi --host 127.0.0.1 --port {port} --workers 1 --loop uvloop"
    " --log-level warning --no-ws benchmarks.peers.bare:app",
    "bare_sqlite": "granian --interface rsgi --host 127.0.0.1 --port {port} --workers 1"
    " --loop uvloop --log-level warning --no-ws benchmarks.peers.bare_sqlite:app",
}


@dataclass(frozen=True)
class Sample:
    """One measured run."""

    requests: int
    seconds: float
    p50: float  # milliseconds, as are the others
    p90: float
    p99: float
    server_cpu: float  # per request
    database_cpu: float | None

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True)
class Answer:
    status: int
    body: str


@dataclass(frozen=True)
class Memory:
    """In MiB: of the worker, and of all processes of the server."""

    worker_rss: float
    worker_pss: float
    total_pss: float


class Running:
    """A started server."""

    def __init__(self, name: str, database: Database, peers: Path, probe: Request) -> None:
        self.name, self.database = name, database
        self.port = free_port()
        logs = HOME / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{name}.log"
        binaries = Path(sys.executable).parent if name == "taskflow" else peers / "bin"
        program, *flags = COMMANDS[name].format(name=name, port=self.port).split()
        started = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own arguments
                pinned(SERVER_CORE, [str(binaries / program), *flags]),
                cwd=REPO,
                env=environment(name, database),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_for(probe)
        self.start_seconds = time.perf_counter() - started

    def wait_for(self, probe: Request) -> None:
        """Wait until the server answers. Raise Failed if it does not, or not with 200."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                answer = self.fetch_rows(probe)
            except OSError:
                time.sleep(0.005)
                continue
            if answer.status == 200:
                return
            self.stop()
            raise Failed(f"{self.name} answers {answer.status}: {answer.body}")
        self.stop()
        raise Failed(f"{self.name} does not start:\n{self.log.read_text()[-3000:]}")

    def serves(self, workload: Workload) -> bool:
        return not workload.stacks or self.name in workload.stacks

    def fetch_rows(self, request: Request) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT)
        try:
            return fetch_rows(connection, request)
        finally:
            connection.close()

    def cpu_seconds(self) -> float:
        return tree_cpu(self.process.pid)

    def memory(self) -> Memory:
        processes = tree(self.process.pid)
        used = [process.memory_full_info() for process in processes]
        workers = [process for process in processes if not process.children()]
        worker = max((one.memory_full_info() for one in workers), key=lambda one: one.rss)
        mib = 1 << 20
        return Memory(worker.rss / mib, worker.pss / mib, sum(one.pss for one in used) / mib)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for process in tree(self.process.pid):
                    process.kill()
                self.process.wait()


def fetch_rows(connection: HTTPConnection, request: Request) -> Answer:
    headers = {"Authorization": f"Bearer {request.token}", "Content-Type": "application/json"}
    headers |= dict([request.header] if request.header else [])
    body = request.json if request.body is not None else None
    connection.request(request.method, request.path, body, headers)
    response = connection.getresponse()
    return Answer(response.status, response.read().decode())


def environment(name: str, database: Database) -> dict[str, str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith("TASKFLOW_")}
    # Otherwise packages without bytecode would be compiled at each start.
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    if name == "taskflow":
        # `manage.py serve` hands its own on
        given["DJANGO_SETTINGS_MODULE"] = "taskflow.settings"
        return given | {"DATABASE_URL": database.ordinary, "TASKFLOW_DEBUG": "0"}
    return given | {"PEER_DATABASE_URL": database.superuser, "PYTHONPATH": str(REPO)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(core: int, command: Sequence[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its children, including those that have ended."""
    total = 0.0
    for process in tree(pid):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


def pin_tree(pid: int, core: int) -> None:
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has just ended
            process.cpu_affinity([core])


# ---- load ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    connections: int
    seconds: int
    directory: Path  # for the files of requests

    def measure(self, server: Running, workload: Workload, label: str) -> Sample:
        """Warm up and measure. Raises Failed unless every request was answered and has written."""
        connections = workload.connections or self.connections
        workload.prepare(server.database)
        if workload.connections is None:  # otherwise the same has been measured before
            warm_up(server, workload, connections, f"{label}w")
        time.sleep(IDLE_SECONDS)
        workload.prepare(server.database)
        path = workload.write(self.directory)
        events = last_event(server.database)
        count = meter(server)
        requests, microseconds, p50, p90, p99 = self.run(server, workload, path, label)
        wait_until_idle(server)
        server_cpu, database_cpu = count()
        written = last_event(server.database) - events
        if written < requests * workload.events:
            raise Failed(
                f"{server.name}, {workload.name}: {requests} requests wrote {written} events,"
                f" not {workload.events} each"
            )
        served = written / workload.events if workload.events else requests
        return Sample(
            requests,
            microseconds / 1e6,
            p50 / 1e3,
            p90 / 1e3,
            p99 / 1e3,
            server_cpu * 1e3 / served,
            None if database_cpu is None else database_cpu * 1e3 / served,
        )

    def run(
        self, server: Running, workload: Workload, path: Path, label: str, *, check: bool = False
    ) -> tuple[int, int, int, int, int]:
        """Return requests, microseconds and three latencies. Raises Failed on a bad response."""
        script = str(REPO / "benchmarks" / "load.lua")
        connections = workload.connections or self.connections
        command = ["wrk", "-t1", f"-c{connections}", f"-d{self.seconds}s", "--timeout", "20s"]
        command += ["-s", script, f"http://127.0.0.1:{server.port}", "--", str(path), label]
        done = subprocess.run(  # noqa: S603 - our own arguments
            pinned(OTHER_CORE, command + ["check"] * check), capture_output=True, text=True
        )
        match = RESULT.search(done.stdout)
        if match is None:
            raise Failed(f"wrk: {done.stdout}{done.stderr}")
        requests, microseconds, broken, refused, p50, p90, p99 = map(int, match.groups())
        if bad := BAD.search(done.stdout):
            raise Failed(f"{server.name}, {workload.name}: {refused} bad answers, one is {bad[1]}")
        if refused and not check:
            self.run(server, workload, path, f"{label}c", check=True)
        if refused or broken or not requests:
            raise Failed(
                f"{server.name}, {workload.name}: {requests} requests, {refused} refused,"
                f" {broken} connections broken. {server.log.read_text()[-3000:]}"
            )
        return requests, microseconds, p50, p90, p99


def warm_up(server: Running, workload: Workload, connections: int, label: str) -> None:
    """Send the first requests, so that each connection of the server has its statements."""
    number = WARM_UP_BULK if workload.events > 1 else WARM_UP
    requests = [request.stamped(label) for request in workload.requests[:number]]

    def send(first: int) -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=START_TIMEOUT)
        try:
            for request in requests[first::connections]:
                answer = fetch_rows(connection, request)
                if not 200 <= answer.status <= 299:
                    raise Failed(
                        f"{server.name}, {workload.name}: {answer.status} {answer.body[:1000]}"
                    )
        finally:
            connection.close()

    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(send, range(connections)))


def wait_until_idle(server: Running) -> None:
    """Wait until the server is idle. It carries out the requests that wrk leaves when it ends."""
    deadline = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < deadline:
        cpu, events = server.cpu_seconds(), last_event(server.database)
        time.sleep(IDLE_SECONDS)
        if server.cpu_seconds() - cpu <= IDLE_CPU and last_event(server.database) == events:
            return


def meter(server: Running) -> Callable[[], tuple[float, float | None]]:
    """Start counting CPU seconds. The returned function gives those of server and database."""
    postmaster = server.database.postmaster
    before, database_before = server.cpu_seconds(), postmaster and tree_cpu(postmaster)

    def count() -> tuple[float, float | None]:
        used = server.cpu_seconds() - before
        if postmaster is None or database_before is None:
            return used, None
        return used, tree_cpu(postmaster) - database_before

    return count


def last_event(database: Database) -> int:
    """Return the number of events without reading them."""
    [(value,)] = database.fetch_rows("SELECT last_value FROM audit_event_id_seq")
    return int(value)


def peers_venv(given: Path | None) -> Path:
    """Return a virtual environment with the peers' packages. Create it if it does not exist."""
    if given is not None:
        return given
    path = HOME / "peers"
    requirements = REPO / "benchmarks" / "peers" / "requirements.txt"
    installed = path / "requirements.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        say("Installing the peers' packages")
        subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)  # noqa: S603 - ours
        pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check", "-r", str(requirements)]
        subprocess.run(pip, check=True)  # noqa: S603 - ours
        installed.write_text(requirements.read_text())
    return path
