"""Start the product as its users do, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(directory: Path) -> dict[str, str]:
    """Return the environment variables of a new installation, without those of the tests."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("TASKFLOW_")}
    known.pop("DATABASE_URL", None)
    return known | {"TASKFLOW_DATA_DIR": str(directory), "TASKFLOW_DEBUG": "1"}


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
    for _ in range(600):  # a minute, for a busy machine
        time.sleep(0.1)
        if "TaskFlow is on" in log.read_text():
            return process
        assert process.poll() is None, log.read_text()
    raise AssertionError(log.read_text())


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(10)
