"""The official client of the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

from taskflow.tests.generated_client.commands import run as run_command
from taskflow.tests.generated_client.environments import install as install_environment
from taskflow.tests.server import ROOT

HERE = Path(__file__).parent / "mcp"
ENVIRONMENT = ROOT / "var" / "contract" / "mcp"


def install() -> None:
    """Make the client's own environment."""
    install_environment(
        "the official client of MCP", ENVIRONMENT, HERE / "requirements.txt", "--require-hashes"
    )


def run(base: str) -> None:
    """Work with the tools as an agent does, in both eras of the protocol: session.py."""
    command = [ENVIRONMENT / "bin" / "python", HERE / "session.py", base]
    print(run_command("session.py", command, folder=HERE), end="")
