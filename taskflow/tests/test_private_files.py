"""The database, its directory and the secret key are readable by their owner only."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.db.sqlite.files import make_private_directory, protect_database

ROOT = Path(__file__).parents[2]
STEPS = """
import os, django
from pathlib import Path
os.umask(0)
django.setup()
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
call_command("seed", stdout=open(os.devnull, "w"))
connection.ensure_connection()
folder = Path(os.environ["FOLDER"])
for path in [folder, *sorted(folder.rglob("*"))]:
    print(path.relative_to(folder.parent), oct(path.stat().st_mode & 0o777))
"""


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def run(folder, **environment):
    given = {k: v for k, v in os.environ.items() if not k.startswith(("TASKFLOW_", "DATABASE_"))}
    given |= {"DJANGO_SETTINGS_MODULE": "taskflow.settings", "FOLDER": str(folder)} | environment
    done = subprocess.run(
        [sys.executable, "-c", STEPS], cwd=ROOT, env=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.proof
def test_migrate_and_seed_leave_private_files_in_a_private_directory(tmp_path):
    modes = run(tmp_path / "data", TASKFLOW_DATA_DIR=str(tmp_path / "data"))

    assert modes == {
        "data": "0o700",
        "data/secret_key": "0o600",
        "data/taskflow.sqlite3": "0o600",
        "data/taskflow.sqlite3-shm": "0o600",
        "data/taskflow.sqlite3-wal": "0o600",
    }


def settings_in(folder, **environment):
    """Load the settings as a process of their own does, and open the database."""
    script = "import django; django.setup(); from django.db import connection; connection.cursor()"
    given = {k: v for k, v in os.environ.items() if not k.startswith(("TASKFLOW_", "DATABASE_"))}
    given |= {"DJANGO_SETTINGS_MODULE": "taskflow.settings", "TASKFLOW_DATA_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=given | environment, check=True)


@pytest.mark.slow
def test_files_in_a_named_data_directory_become_private_and_its_mode_is_kept(tmp_path):
    """The directory may be shared, as /tmp is."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("secret_key", "taskflow.sqlite3", "taskflow.sqlite3-wal"):
        (folder / name).touch()
        (folder / name).chmod(0o644)
    (folder / "secret_key").write_text("x" * 50)
    folder.chmod(0o755)

    settings_in(folder)

    assert mode_of(folder) == 0o755
    assert {mode_of(path) for path in folder.iterdir()} == {0o600}


def test_protecting_a_directory_keeps_its_mode(tmp_path):
    """`sqlite:////` names the root directory."""
    tmp_path.chmod(0o755)

    protect_database(str(tmp_path))

    assert mode_of(tmp_path) == 0o755


@pytest.mark.slow
def test_existing_directory_in_the_database_url_keeps_its_mode(tmp_path):
    named = tmp_path / "named"
    named.mkdir()
    named.chmod(0o755)

    settings_in(tmp_path / "data", DATABASE_URL=f"sqlite:///{named}/tasks.sqlite3")

    assert mode_of(named) == 0o755
    assert mode_of(named / "tasks.sqlite3") == 0o600


def test_missing_directory_of_the_database_is_created_private(tmp_path):
    make_private_directory(tmp_path / "a" / "b")

    assert mode_of(tmp_path / "a" / "b") == 0o700


def test_protecting_a_database_keeps_its_content(tmp_path):
    path = tmp_path / "tasks.sqlite3"
    path.write_bytes(b"rows")
    path.chmod(0o664)

    protect_database(str(path))
    protect_database(str(path))

    assert (mode_of(path), path.read_bytes()) == (0o600, b"rows")
