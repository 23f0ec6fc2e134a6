"""`make run` and `make test` repair the environment; `make clean` and `make reset` delete files."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.tests.server import ROOT, free_port

pytestmark = pytest.mark.slow

# As `python3`: its environments have a `python` that notes what pip is to install.
FAKE_PYTHON = f"""#!/bin/sh
case "$1$2" in
-c* | -[0-9]* | --version) exec {sys.executable} "$@" ;;
-mvenv)
    echo venv >> "$LOG"
    mkdir -p "$3/bin"
    cp "$FAKES/pip" "$3/bin/python"
    echo "VIRTUAL_ENV='$PWD/$3'" > "$3/bin/activate" ;;
esac
"""
FAKE_PIP = f"""#!/bin/sh
case "$1" in
-c | -) exec {sys.executable} "$@" ;;
esac
for last; do :; done
echo "pip $last" >> "$LOG"
test -z "$HANG" || {{ echo hanging; sleep 20; }}
exit ${{PIP_FAILS:-0}}
"""
RUNTIME, FULL = "requirements-runtime.lock", "requirements.lock"


class Checkout:
    """A folder with the scripts, the Makefile and two small lock files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.log = folder / "log"
        self.fakes = folder / "fakes"
        self.fakes.mkdir()
        for name, text in {"python3": FAKE_PYTHON, "pip": FAKE_PIP}.items():
            (self.fakes / name).write_text(text)
            (self.fakes / name).chmod(0o755)
        shutil.copytree(ROOT / ".ci", self.folder / ".ci")
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / RUNTIME).write_text("a==1\n")
        (self.folder / FULL).write_text("a==1\nb==1\n")

    def environment(self, **variables: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "MAKEFLAGS")}
        given = {"PYTHON": str(self.fakes / "python3"), "LOG": str(self.log), "HANG": ""}
        return inherited | given | {"FAKES": str(self.fakes)} | variables

    def make(self, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", target],
            cwd=self.folder, env=self.environment(**variables),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def done(self) -> list[str]:
        """What was done since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def installed(checkout):
    """A checkout whose environment holds the full lock."""
    assert checkout.make("installed").returncode == 0
    assert checkout.done() == ["venv", f"pip {FULL}"]
    return checkout


def test_running_installs_the_runtime_lock_once(checkout):
    assert checkout.make("runtime").returncode == 0
    assert checkout.make("runtime").returncode == 0

    assert checkout.done() == ["venv", f"pip {RUNTIME}"]


def test_testing_after_running_installs_the_full_lock(checkout):
    for target in ("runtime", "installed", "installed", "runtime"):
        assert checkout.make(target).returncode == 0

    assert checkout.done() == ["venv", f"pip {RUNTIME}", f"pip {FULL}"]


def test_changed_lock_is_installed_once(installed):
    (installed.folder / RUNTIME).write_text("a==2\n")
    (installed.folder / FULL).write_text("a==2\nb==1\n")

    for target in ("runtime", "runtime", "installed", "installed"):
        assert installed.make(target).returncode == 0

    assert installed.done() == [f"pip {RUNTIME}", f"pip {FULL}"]


def test_going_back_to_the_former_lock_installs_it(installed):
    (installed.folder / RUNTIME).write_text("a==2\n")
    installed.make("runtime")
    (installed.folder / RUNTIME).write_text("a==1\n")

    assert installed.make("installed").returncode == 0

    assert installed.done() == [f"pip {RUNTIME}", f"pip {FULL}"]


def without_python(checkout: Checkout) -> None:
    (checkout.folder / ".venv/bin/python").unlink()


def with_a_python_that_is_gone(checkout: Checkout) -> None:
    without_python(checkout)
    (checkout.folder / ".venv/bin/python").symlink_to("/usr/bin/python-of-yesterday")


def without_pip(checkout: Checkout) -> None:
    """As when `python -m venv` was interrupted, or when the Python behind it was upgraded."""
    (checkout.folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")


def without_activate(checkout: Checkout) -> None:
    (checkout.folder / ".venv/bin/activate").unlink()


def interrupted(checkout: Checkout) -> None:
    (checkout.folder / ".venv/.incomplete").touch()


def moved(checkout: Checkout) -> None:
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("elsewhere"))


def copied(checkout: Checkout) -> None:
    checkout.folder = shutil.copytree(checkout.folder, checkout.folder.with_name("copy"))


def empty(checkout: Checkout) -> None:
    shutil.rmtree(checkout.folder / ".venv")
    (checkout.folder / ".venv").mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        without_python,
        with_a_python_that_is_gone,
        without_pip,
        without_activate,
        interrupted,
        moved,
        copied,
        empty,
    ],
)
def test_broken_environment_is_created_again(installed, damage):
    damage(installed)

    ended = installed.make("installed")

    assert ended.returncode == 0, ended.stderr
    assert installed.done() == ["venv", f"pip {FULL}"]
    assert installed.make("installed").returncode == 0
    assert installed.done() == []


def test_linked_environment_is_used_but_not_deleted_when_broken(installed, tmp_path):
    target = (installed.folder / ".venv").rename(tmp_path / "shared")
    (installed.folder / ".venv").symlink_to(target)
    (target / "bin/activate").write_text(f"VIRTUAL_ENV='{target}'\n")

    assert installed.make("installed").returncode == 0
    (target / "bin/python").unlink()
    ended = installed.make("installed")

    assert ended.returncode != 0
    assert ".venv is a link" in ended.stderr
    assert installed.done() == []
    assert (target / "bin/activate").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_installation_starts_from_the_beginning(checkout, sent):
    hanging = subprocess.Popen(
        ["sh", ".ci/install.sh", RUNTIME],
        cwd=checkout.folder,
        env=checkout.environment(HANG="1"),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with hanging:
        while b"hanging" not in hanging.stdout.readline():
            pass
        os.killpg(hanging.pid, sent)
        assert hanging.wait() != 0
    checkout.done()

    assert checkout.make("runtime").returncode == 0

    assert checkout.done() == ["venv", f"pip {RUNTIME}"]


def test_failed_installation_is_repeated_in_the_same_environment(checkout):
    failed = checkout.make("runtime", PIP_FAILS="1")

    assert failed.returncode != 0
    assert f"{RUNTIME} could not be installed. Check the connection" in failed.stderr
    assert checkout.make("runtime").returncode == 0
    assert checkout.done() == ["venv", f"pip {RUNTIME}", f"pip {RUNTIME}"]


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("#!/bin/sh\nexit 1\n", "TaskFlow needs Python 3.11 or newer"),
        (
            '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n',
            "On Debian and Ubuntu: apt install python3-venv",
        ),
        (None, "On Debian and Ubuntu: apt install python3 python3-venv"),
    ],
)
def test_missing_python_or_module_is_named_in_the_error(checkout, python, message):
    (checkout.fakes / "python3").unlink()
    if python:
        (checkout.fakes / "python3").write_text(python)
        (checkout.fakes / "python3").chmod(0o755)

    ended = checkout.make("runtime")

    assert ended.returncode != 0
    assert message in ended.stderr
    assert not (checkout.folder / ".venv").exists()


@pytest.mark.readme
def test_broken_environment_becomes_a_real_one_and_is_then_kept(checkout):
    (checkout.folder / ".venv/bin").mkdir(parents=True)
    (checkout.folder / ".venv/bin/python").symlink_to(sys.executable)

    for _ in range(2):
        subprocess.run(
            ["sh", ".ci/install.sh"],
            cwd=checkout.folder, env=checkout.environment(PYTHON=sys.executable), check=True,
        )  # fmt: skip
        (checkout.folder / ".venv/kept").touch()

    python = checkout.folder / ".venv/bin/python"
    assert subprocess.run([python, "-m", "pip", "--version"], check=False).returncode == 0
    assert (checkout.folder / ".venv/kept").exists()


# ---- clean and reset -----------------------------------------------------------------------------

DATA = ["secret_key", "taskflow.sqlite3", "taskflow.sqlite3-shm", "taskflow.sqlite3-wal"]


@pytest.fixture
def data(checkout):
    """The data directory, with a file that is not TaskFlow's."""
    directory = checkout.folder / "var"
    directory.mkdir()
    for name in [*DATA, "notes"]:
        (directory / name).write_text("x")
    return directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_cleaning_keeps_the_data(installed, data):
    (installed.folder / "tasks/__pycache__").mkdir(parents=True)

    assert installed.make("clean").returncode == 0

    assert names(data) == sorted([*DATA, "notes"])
    assert not (installed.folder / ".venv").exists()
    assert not (installed.folder / "tasks/__pycache__").exists()


def test_resetting_without_a_terminal_deletes_nothing(checkout, data):
    ended = checkout.make("reset")

    assert ended.returncode != 0
    assert "Nothing was deleted" in ended.stderr
    for name in DATA:
        assert f"var/{name}" in ended.stdout
    assert names(data) == sorted([*DATA, "notes"])


def test_resetting_with_yes_deletes_the_data_and_nothing_else(checkout, data):
    ended = checkout.make("reset", YES="1", DATABASE_URL="postgres://h/d")

    assert ended.returncode == 0
    assert "The database of DATABASE_URL is not deleted." in ended.stdout
    assert names(data) == ["notes"]
    assert "There is no local data in var." in checkout.make("reset").stdout


def test_resetting_deletes_from_the_data_directory(checkout, data, tmp_path):
    other = data.rename(tmp_path / "my data")

    assert checkout.make("reset", YES="1", TASKFLOW_DATA_DIR=str(other)).returncode == 0

    assert names(other) == ["notes"]


@pytest.mark.parametrize(("answer", "kept"), [("yes", 1), ("no", 5), ("", 5), ("y", 5)])
def test_resetting_asks_for_confirmation(checkout, data, answer, kept):
    screen, keyboard = pty.openpty()
    os.write(screen, f"{answer}\n".encode())
    ended = subprocess.run(
        ["make", "reset"],
        cwd=checkout.folder, env=checkout.environment(), stdin=keyboard, capture_output=True,
        timeout=60,
    )  # fmt: skip
    os.close(screen)
    os.close(keyboard)

    assert (ended.returncode == 0) is (answer == "yes")
    assert len(names(data)) == kept


def test_doctor_is_content_with_a_machine_that_has_all(installed):
    done = installed.make("doctor", PORT=str(free_port()))

    assert done.returncode == 0, done.stdout
    assert "missing" not in done.stdout


def test_doctor_says_what_is_missing_and_what_to_do(checkout):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = checkout.make("doctor", PORT=str(port))
    without_python = checkout.make("doctor", PYTHON="python-that-is-not-there")

    assert done.returncode != 0
    assert f"missing  port {port}: another program listens there." in done.stdout
    assert "apt install python3 python3-venv" in without_python.stdout


def test_doctor_names_a_database_that_does_not_answer(installed):
    url = f"postgres://nobody@127.0.0.1:{free_port()}/none"

    done = installed.make("doctor", DATABASE_URL=url)

    assert done.returncode != 0
    assert "missing  the database of DATABASE_URL: " in done.stdout
