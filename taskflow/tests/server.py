"""Start the product as its users do, in a process of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from taskflow.worker_pool import WORKER_NAME

ROOT = Path(__file__).parents[2]
RELOADED = "New workers answer"  # in the log


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(directory: Path) -> dict[str, str]:
    """Return the environment variables of a new installation, without those of the tests."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("TASKFLOW_")}
    known.pop("DATABASE_URL", None)
    return known | {"TASKFLOW_DATA_DIR": str(directory), "TASKFLOW_DEBUG": "1"}


def demo_environment(directory: Path) -> dict[str, str]:
    """Return the environment variables of an installation on SQLite that has the demo.

    Its first start takes 4 seconds instead of the 13 with which it migrates and creates the demo.
    """
    shutil.copytree(_create_demo(), directory)
    return clean_environment(directory)


@cache
def _create_demo() -> Path:
    """Return a data directory with the demo. It is deleted when this process ends."""
    directory = Path(tempfile.mkdtemp(prefix="taskflow-demo"))
    atexit.register(shutil.rmtree, directory)
    environment = clean_environment(directory / "data")
    for command in ("migrate", "seed"):
        subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return directory / "data"


def serve(
    port: int, environment: dict[str, str], log: Path, *options: str
) -> subprocess.Popen[bytes]:
    """Start the server as `make run` does. Return when it has printed its greeting."""
    command = [sys.executable, "manage.py", "serve", "--port", str(port), *options]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    for _ in range(1800):  # three minutes, for a busy machine
        time.sleep(0.1)
        if "TaskFlow is on" in log.read_text():
            return process
        assert process.poll() is None, log.read_text()
    process.kill()
    raise AssertionError(log.read_text())


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(10)


def reload(process: subprocess.Popen[bytes], log: Path) -> None:
    """Let the server load its code anew. Return when the new workers answer."""
    before = log.read_text().count(RELOADED)
    process.send_signal(signal.SIGHUP)
    for _ in range(1800):  # three minutes, for a busy machine
        time.sleep(0.1)
        if log.read_text().count(RELOADED) > before:
            return
    raise AssertionError(log.read_text())


def list_children(process: int) -> list[int]:
    """Return the ids of the processes that a process has started; none if it has ended."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in listed.split()]


def list_workers(server: int) -> list[int]:
    """Return the ids of the workers, also of former ones that have not ended yet.

    A worker has its name before it accepts connections.
    """
    return [
        process
        for process in _list_forked(server)
        if (_name_of(process) or "").startswith(WORKER_NAME)
    ]


def list_helpers(server: int, name: str) -> list[int]:
    """Return the ids of the processes of the server with this name, such as tf-webhooks."""
    return [process for process in _list_forked(server) if _name_of(process) == name]


def _list_forked(server: int) -> list[int]:
    return [process for pool in list_children(server) for process in list_children(pool)]


def _name_of(process: int) -> str | None:
    """Return the name of a process, or None if it has ended."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_running(process: int) -> bool:
    """Return whether the process has not ended. One that has may still be listed."""
    try:
        return not Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except (FileNotFoundError, ProcessLookupError):
        return False
