"""The linters redocly and spectral, and the clients of openapi-typescript and hey-api."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from taskflow.tests.generated_client.commands import run as run_command
from taskflow.tests.server import ROOT

PARTS = "redocly, spectral, openapi-typescript, hey-api"
HERE = Path(__file__).parent / "node"
LOCK = HERE / "package-lock.json"
FOLDER = ROOT / "var" / "contract" / "node"
BUILD = FOLDER / "build"  # below node_modules, so that imports find the packages
BIN = FOLDER / "node_modules" / ".bin"


def is_installed() -> bool:
    """Return whether Node.js and its package manager are on the path."""
    return all(shutil.which(program) for program in ("node", "npm"))


def install() -> None:
    """Install the packages of package-lock.json, unless they are there."""
    installed = FOLDER / "installed.json"
    if installed.exists() and installed.read_text() == LOCK.read_text():
        return
    print("Installing the packages of Node.js")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for file in (HERE / "package.json", LOCK):
        shutil.copy(file, FOLDER)
    _run("npm", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    installed.write_text(LOCK.read_text())


def lint(document: Path) -> None:
    """Exits when a linter finds an error in the document."""
    redocly = [BIN / "redocly", "lint", "--config", HERE / "redocly.yaml", document]
    _run("redocly", redocly)
    print("redocly: no errors")
    _run("spectral", [BIN / "spectral", "lint", "--ruleset", HERE / "spectral.yaml", document])
    print("spectral: no errors")


def run(document: Path, base: str) -> None:
    """Write both clients, compile them with the programs by `tsc --strict`, and run these."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir()
    for program in HERE.glob("*.ts"):
        shutil.copy(program, BUILD)
    # hey-api looks for it above its own package, and writes imports as it requires.
    shutil.copy(HERE / "tsconfig.json", FOLDER)
    # Otherwise fields with a default are required in request bodies too.
    types = [BIN / "openapi-typescript", document, "-o", BUILD / "schema.d.ts"]
    _run("openapi-typescript", [*types, "--default-non-nullable=false"])
    _run("hey-api", [BIN / "openapi-ts", "-i", document, "-o", BUILD / "hey", "--no-log-file"])
    _run("tsc --strict", [BIN / "tsc", "--project", FOLDER])
    for program in sorted(HERE.glob("*.ts")):
        print(_run(program.name, ["node", FOLDER / "out" / f"{program.stem}.js", base]), end="")


def _run(what: str, command: list[str | Path]) -> str:
    environment = os.environ | {
        "REDOCLY_TELEMETRY": "off",
        "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    }
    return run_command(what, command, folder=FOLDER, environment=environment)
