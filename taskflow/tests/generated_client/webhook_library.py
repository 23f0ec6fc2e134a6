"""The library of Standard Webhooks, which receivers check signatures with."""

from __future__ import annotations

from pathlib import Path

from taskflow.tests.generated_client.commands import run as run_command
from taskflow.tests.generated_client.environments import install as install_environment
from taskflow.tests.server import ROOT

HERE = Path(__file__).parent / "webhooks"
ENVIRONMENT = ROOT / "var" / "contract" / "webhooks"
SETTINGS = {"TASKFLOW_WEBHOOK_ALLOW": "127.0.0.1"}  # of the server


def install() -> None:
    """Make the library's own environment."""
    install_environment(
        "the library of Standard Webhooks",
        ENVIRONMENT,
        HERE / "requirements.txt",
        "--require-hashes",
    )


def run(base: str) -> None:
    """Receive a delivery and verify it: session.py."""
    command = [ENVIRONMENT / "bin" / "python", HERE / "session.py", base]
    print(run_command("session.py", command, folder=HERE), end="")
