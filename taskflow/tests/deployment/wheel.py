"""The wheel: built, installed in an environment of its own, and served without a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

from taskflow.tests.server import ROOT, free_port, stop

TENANT = ["--name", "Example", "--subdomain", "example", "--full-name", "Ada"]


def check(directory: Path) -> str:
    """Build, install and serve. Return what was tried. Raises AssertionError for a failure."""
    wheel = build(directory / "dist")
    program = install(wheel, directory / "environment")
    home = directory / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    run([program, "migrate", "--verbosity", "0"], environment)
    made = run([program, "create_tenant", *TENANT, "--email", "ada@example.org"], environment)
    assert "/admin/password-reset/completion/?token=" in made, made
    assert (home / ".local/share/taskflow/taskflow.sqlite3").exists(), "not in the home directory"
    serve(program, environment, directory / "log")
    return f"built, {wheel.stat().st_size // 1024} KiB; installed; served with its static files"


def build(folder: Path) -> Path:
    """Return the wheel, which contains no tests."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    run([*command, ROOT], dict(os.environ))
    (wheel,) = folder.glob("taskflow-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Return the program `taskflow` of a new environment with the packages of the runtime lock."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    run([*pip, "--require-hashes", "-r", ROOT / "requirements-runtime.lock"], dict(os.environ))
    run([*pip, "--no-deps", wheel], dict(os.environ))
    return folder / "bin" / "taskflow"


def serve(program: Path, environment: dict[str, str], log: Path) -> None:
    """Serve, and read the sign-in page and what it loads."""
    port = free_port()
    with log.open("wb") as out:
        command = [program, "serve", "--port", str(port)]
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        page = read(f"http://localhost:{port}/admin/login/", process, log)
        assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert len(assets) > 10, page
        for asset in assets:
            read(f"http://localhost:{port}{asset}", process, log)
    finally:
        stop(process)


def read(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the body of a page. Waits until the server answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(address) as response:
                return response.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{address} is answered with {error.code}") from None
        except (ConnectionError, urllib.error.URLError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def run(command: list[str | Path], environment: dict[str, str]) -> str:
    """Return what a command prints. Raises AssertionError with it if the command fails."""
    done = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
