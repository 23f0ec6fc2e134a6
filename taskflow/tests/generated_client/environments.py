"""The environments of programs that are no packages of .venv."""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

from taskflow.tests.generated_client.commands import run


def install(what: str, environment: Path, requirements: Path, *options: str) -> None:
    """Make an environment with these requirements, unless it is there with the same ones."""
    installed = environment / "requirements.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return
    print(f"Installing {what}")
    venv.create(environment, clear=True, with_pip=True)
    command = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--quiet"]
    command += ["--disable-pip-version-check", *options, "-r", requirements]
    run("pip", command, folder=requirements.parent)
    installed.write_text(requirements.read_text())


def add_own_packages(python: Path) -> None:
    """Let the environment of this Python also find the packages of .venv, behind its own.

    Python adds the folders that .pth files name behind the packages of the environment.
    """
    command: list[str | Path] = [
        python,
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]
    packages = run("python", command, folder=python.parent).strip()
    Path(packages, "taskflow.pth").write_text(sysconfig.get_path("purelib"))
