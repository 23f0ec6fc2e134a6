"""The commands of docs/deployment.md run as written, and lead to the files that the unit names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.tests.server import ROOT, clean_environment, demo_environment

PAGE = (ROOT / "docs/deployment.md").read_text()
UNIT = (ROOT / "docs/deploy/taskflow.service").read_text()
COMMAND = (ROOT / "docs/deploy/taskflow.sh").read_text()
DAILY = (ROOT / "docs/deploy/taskflow-daily.service").read_text()
FOLDERS = (
    "/srv/taskflow", "/etc/taskflow", "/etc/systemd/system", "/var/lib/taskflow", "/usr/local/sbin",
)  # fmt: skip
# Programs that need the system itself: they note how they were called.
FAKE = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'
FAKES = {
    "useradd": FAKE,
    # The server applies the migrations when it starts.
    "systemctl": FAKE + 'case "$*" in enable*) taskflow migrate --verbosity 0;; esac\n',
    "runuser": FAKE + 'shift 3\nexec "$@"\n',
}
# The packages are those of this environment. `make prove-deploy` installs them from the index.
VENV = re.compile(r"^/usr/bin/python3 -m venv (\S+)$", re.M)
PIP = re.compile(r"^\S+ -m pip install .*\n", re.M)


def write_fakes(directory: Path) -> Path:
    fakes = directory / "fakes"
    fakes.mkdir()
    for name, script in FAKES.items():
        (fakes / name).write_text(script)
        (fakes / name).chmod(0o755)
    return fakes


def move_folders(text: str, directory: Path) -> str:
    """Return a text in which the folders of an installation are in a directory."""
    for folder in FOLDERS:
        text = text.replace(folder, f"{directory}{folder}")
    return text


@pytest.mark.slow
@pytest.mark.readme
def test_commands_of_the_deployment_page_run_as_written(tmp_path):
    fakes = write_fakes(tmp_path)
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S))
    script = PIP.sub("", VENV.sub(rf"ln -s {sys.prefix} \1", script))
    script = move_folders(script, tmp_path).replace("docs/deploy/", f"{tmp_path}/deploy/")
    (tmp_path / "deploy").mkdir()
    for path in (ROOT / "docs/deploy").iterdir():
        (tmp_path / "deploy" / path.name).write_text(move_folders(path.read_text(), tmp_path))
    for folder in ("/etc/systemd/system", "/var/lib", "/usr/local/sbin"):
        (tmp_path / folder[1:]).mkdir(parents=True)
    environment = clean_environment(tmp_path) | {
        "PATH": f"{fakes}:{tmp_path}/usr/local/sbin:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
    }

    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout + ended.stderr
    called = (tmp_path / "calls").read_text().splitlines()
    assert [call for call in called if call.startswith("systemctl")] == [
        "systemctl daemon-reload",
        "systemctl enable --now taskflow taskflow-daily.timer",
        "systemctl reload taskflow",
        "systemctl reload taskflow",
        "systemctl stop taskflow",
        "systemctl start taskflow",
    ]
    assert ended.stdout.count("Wrote ") == 2
    assert ended.stdout.count("Restored ") == 1
    assert "All values are right." in ended.stdout
    assert (tmp_path / "srv/taskflow/current").resolve().name == "1"
    for path in re.findall(r"^ExecStart=(\S+) (\S+)", UNIT, re.M)[0]:
        assert Path(f"{tmp_path}{path}").exists(), path


@pytest.mark.slow
@pytest.mark.readme
def test_command_has_the_settings_of_the_service_and_no_others(tmp_path):
    """A shell would run the URL in parts: without it, a backup would be one of another database."""
    (tmp_path / "etc/taskflow").mkdir(parents=True)
    (tmp_path / "etc/taskflow/environment").write_text(
        "# comment=1\n\nDATABASE_URL=postgres://a:b$c@d/e?pool=true&connect_timeout=3\n"
        "TASKFLOW_DOMAIN='tasks.example'\nTASKFLOW_HTTPS=\"1\""
    )
    command = tmp_path / "taskflow"
    command.write_text(move_folders(COMMAND, tmp_path))
    python = tmp_path / "new release/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\nenv | grep -E "^(TASKFLOW|DATABASE)" | sort\n')
    python.chmod(0o755)
    environment = {
        "PATH": f"{write_fakes(tmp_path)}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "RELEASE": str(tmp_path / "new release"),
        "TASKFLOW_DEBUG": "1",
        "DATABASE_URL": "sqlite:///other",
    }

    printed = subprocess.check_output(
        ["sh", str(command), "backup", "a b"], env=environment, text=True
    )

    assert printed.splitlines() == [
        f"{tmp_path}/new release/manage.py|backup|a b|"
        "DATABASE_URL=postgres://a:b$c@d/e?pool=true&connect_timeout=3",
        f"TASKFLOW_DATA_DIR={tmp_path}/var/lib/taskflow",
        "TASKFLOW_DOMAIN=tasks.example",
        "TASKFLOW_HTTPS=1",
    ]


@pytest.mark.slow
def test_daily_commands_write_a_backup_and_run_the_timed_tasks(tmp_path):
    environment = demo_environment(tmp_path / "data")
    (tmp_path / "var/lib/taskflow/backups").mkdir(parents=True)
    commands = "\n".join(re.findall(r"^ExecStart=(.*)$", DAILY, re.M))
    # As systemd reads them.
    script = move_folders(commands.replace("$$", "$").replace("%%", "%"), tmp_path)
    current = tmp_path / "srv/taskflow/current"
    current.parent.mkdir(parents=True)
    current.symlink_to(ROOT)
    script = script.replace(f"{current}/.venv/bin/python", sys.executable)

    for command in script.splitlines():
        subprocess.run(["sh", "-c", command], env=environment, check=True)

    (backup,) = (tmp_path / "var/lib/taskflow/backups").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}\.backup", backup.name)
    listed = subprocess.check_output(
        [sys.executable, "manage.py", "run_scheduled", "--list"],
        cwd=ROOT, env=environment, text=True,
    )  # fmt: skip
    assert "purge_trash: every 1440 minutes, last success 2" in listed
    assert "never" not in listed


def test_deployment_page_and_files_name_each_other():
    for path in (ROOT / "docs/deploy").iterdir():
        assert path.name in PAGE, path
