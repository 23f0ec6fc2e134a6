"""
Proof that a client generated from the OpenAPI document works: `make test-client`.

Starts the product on SQLite in a temporary directory, generates a Python client from the document
that it serves, and runs session.py with that client. A warning of the generator is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

from taskflow.tests.test_readme import ROOT, clean_environment, free_port, serve, stop

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
ENVIRONMENT = ROOT / "var" / "generated-client"
BIN = ENVIRONMENT / "bin"
GENERATION_TIMEOUT = SESSION_TIMEOUT = 120  # seconds


def main() -> None:
    install()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        port = free_port()
        process = serve(port, clean_environment(directory / "data"), directory / "log")
        try:
            base = f"http://127.0.0.1:{port}"
            generate(f"{base}/api/v1/openapi.json", directory)
            run_session(base, directory)
        finally:
            stop(process)


def install() -> None:
    """Make the generator's own environment, unless it is there with these requirements."""
    installed = ENVIRONMENT / "requirements.txt"
    if installed.exists() and installed.read_text() == REQUIREMENTS.read_text():
        return
    print("Installing the client generator")
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [
        BIN / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
    installed.write_text(REQUIREMENTS.read_text())


def generate(url: str, directory: Path) -> None:
    """Write the client to the package `taskflow_client`. Exits when the generator warns."""
    document = directory / "openapi.json"
    with urllib.request.urlopen(url) as response:
        document.write_bytes(response.read())
    command = [BIN / "openapi-python-client", "generate", "--fail-on-warning", "--meta", "none"]
    command += ["--path", document, "--output-path", directory / "taskflow_client"]
    command += ["--config", HERE / "config.yml"]
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # the generator calls ruff
    done = subprocess.run(
        command,
        env=os.environ | {"PATH": path},
        timeout=GENERATION_TIMEOUT,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"The client could not be generated:\n{done.stdout}{done.stderr}")
    modules = len(list((directory / "taskflow_client" / "api").glob("*/[a-z]*.py")))
    print(f"Generated a client with {modules} operations and no warning")


def run_session(base: str, directory: Path) -> None:
    command = [BIN / "python", HERE / "session.py", base]
    environment = os.environ | {"PYTHONPATH": str(directory)}
    done = subprocess.run(command, env=environment, timeout=SESSION_TIMEOUT, check=False)
    if done.returncode:
        sys.exit("The session with the generated client failed.")


if __name__ == "__main__":
    main()
