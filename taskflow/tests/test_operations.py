"""The commands of docs/operations.md run as written."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from taskflow.tests.server import ROOT, demo_environment

OPERATIONS = (ROOT / "docs/operations.md").read_text()


@pytest.mark.slow
@pytest.mark.readme
def test_commands_of_the_operations_page_run_as_written(tmp_path):
    environment = demo_environment(tmp_path / "var")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", OPERATIONS, re.S))
    script = script.replace(".venv/bin/python", sys.executable).replace("var/", f"{tmp_path}/var/")
    script = script.replace("/tmp/taskflow-restored", f"{tmp_path}/restored")

    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Wrote " in ended.stdout
    assert "The file is complete" in ended.stdout
    assert "Restored " in ended.stdout
    assert ended.stdout.count("All values are right.") == 2
    assert (tmp_path / "var/copy.sqlite3").exists()
