"""Run the programs of generators, linters and compilers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TIMEOUT = 300  # seconds; an installation on a slow connection


def run(
    what: str, command: list[str | Path], *, folder: Path, environment: dict[str, str] | None = None
) -> str:
    """Return what the command prints. Exits with it, and with `what`, when the command fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        timeout=TIMEOUT,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{what} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
