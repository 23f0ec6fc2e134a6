"""The commands of docs/deployment.md run as written, and lead to the files that the unit names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.tests.server import ROOT, clean_environment

PAGE = (ROOT / "docs/deployment.md").read_text()
UNIT = (ROOT / "docs/deploy/taskflow.service").read_text()
FOLDERS = ("/srv/taskflow", "/etc/taskflow", "/etc/systemd/system", "/var/lib/taskflow")
# Programs that need the system itself: they note how they were called.
FAKE = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'
RUNUSER = FAKE + 'shift 3\nexec "$@"\n'
# The packages are those of this environment. `make prove-deploy` installs them from the index.
VENV = re.compile(r"^python3 -m venv (\S+)$", re.M)
PIP = re.compile(r"^\S+ -m pip install .*\n", re.M)


@pytest.mark.slow
@pytest.mark.readme
def test_commands_of_the_deployment_page_run_as_written(tmp_path):
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    for name in ("useradd", "systemctl", "runuser"):
        (fakes / name).write_text(RUNUSER if name == "runuser" else FAKE)
        (fakes / name).chmod(0o755)
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S))
    script = PIP.sub("", VENV.sub(rf"ln -s {sys.prefix} \1", script))
    for folder in FOLDERS:
        script = script.replace(folder, f"{tmp_path}{folder}")
    for folder in ("/etc/systemd/system", "/var/lib"):
        (tmp_path / folder[1:]).mkdir(parents=True)
    environment = clean_environment(tmp_path) | {
        "PATH": f"{fakes}:{os.environ['PATH']}",
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
        "systemctl enable --now taskflow",
        "systemctl reload taskflow",
        "systemctl reload taskflow",
    ]
    assert ended.stdout.count("Wrote ") == 2
    assert (tmp_path / "srv/taskflow/current").resolve().name == "1"
    for path in re.findall(r"^ExecStart=(\S+) (\S+)", UNIT, re.M)[0]:
        assert Path(f"{tmp_path}{path}").exists(), path


def test_deployment_page_and_files_name_each_other():
    for path in (ROOT / "docs/deploy").iterdir():
        assert path.name in PAGE, path
