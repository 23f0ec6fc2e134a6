"""The client that openapi-python-client writes."""

from __future__ import annotations

import os
from pathlib import Path

from taskflow.tests.generated_client.commands import run as run_command
from taskflow.tests.generated_client.environments import install as install_environment
from taskflow.tests.server import ROOT

HERE = Path(__file__).parent / "python"
REQUIREMENTS = HERE / "requirements.txt"
ENVIRONMENT = ROOT / "var" / "contract" / "python"
BIN = ENVIRONMENT / "bin"


def install() -> None:
    """Make the generator's own environment."""
    install_environment("openapi-python-client", ENVIRONMENT, REQUIREMENTS)


def run(document: Path, base: str, directory: Path) -> None:
    """Write the client to the package `taskflow_client` in `directory`, and run session.py."""
    command = [BIN / "openapi-python-client", "generate", "--fail-on-warning", "--meta", "none"]
    command += ["--path", document, "--output-path", directory / "taskflow_client"]
    command += ["--config", HERE / "config.yml"]
    _run("openapi-python-client", command, directory)
    modules = len(list((directory / "taskflow_client" / "api").glob("*/[a-z]*.py")))
    print(f"openapi-python-client: wrote {modules} operations without a warning")
    print(_run("session.py", [BIN / "python", HERE / "session.py", base], directory), end="")


def _run(what: str, command: list[str | Path], folder: Path) -> str:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # the generator calls ruff
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
    return run_command(what, command, folder=folder, environment=environment)
