"""Paths, errors and output that all parts of the benchmark use."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
# Data that later runs use again. Not in var, as PostgreSQL has to open every directory above its
# own.
HOME = REPO / ".bench"
RESULTS = REPO / "benchmarks" / "RESULTS.md"
SERVER_CORE, OTHER_CORE = 0, 1  # the server has one core for itself


class Failed(SystemExit):
    """The benchmark cannot go on. No results are written."""


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def stop_on_signals() -> None:
    """Raise an exception on SIGTERM, so that `finally` stops the processes that we have started."""

    def leave(number: int, frame: Any) -> None:
        raise Failed(f"Stopped by signal {number}.")

    signal.signal(signal.SIGTERM, leave)
