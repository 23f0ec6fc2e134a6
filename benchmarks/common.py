"""What all parts of the benchmark share."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
# What may be kept from run to run. Not in var: PostgreSQL opens every folder above its own.
HOME = REPO / ".bench"
RESULTS = REPO / "benchmarks" / "RESULTS.md"
SERVER_CORE, OTHER_CORE = 0, 1  # the server has one for itself


class Failed(SystemExit):
    """Nothing that went wrong may end up in a table."""


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def end_well() -> None:
    """Told to stop, stop what we have started too: `finally` runs for an exception only."""

    def leave(number: int, frame: Any) -> None:
        raise Failed(f"Stopped by signal {number}.")

    signal.signal(signal.SIGTERM, leave)
