"""The commands and the worker of docs/agents.md run as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from taskflow.mcp.tools import TOOLS
from taskflow.tests.server import demo_environment, free_port, serve, stop

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
SECONDS = 60  # for three tasks, on a busy machine


@pytest.mark.one_database
def test_table_lists_every_tool_in_its_order():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == list(TOOLS)


@pytest.mark.one_database
def test_worker_is_short_and_needs_no_package():
    (worker,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    lines = [line for line in worker.splitlines() if line.strip()]
    imported = re.findall(r"^import (.*)$", worker, re.M)[0].split(", ")

    assert len(lines) <= 40
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.slow
@pytest.mark.readme
def test_commands_and_worker_of_the_page_run_as_written(tmp_path):
    port, environment = free_port(), demo_environment(tmp_path / "data")
    server = serve(port, environment, tmp_path / "log")
    try:
        variables = run_commands(port, environment)
        (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
        (tmp_path / "worker.py").write_text(code)
        worker = subprocess.Popen(
            [sys.executable, tmp_path / "worker.py"], env=environment | variables
        )
        try:
            tasks = wait_until_done(variables)
        finally:
            worker.kill()
            worker.wait(10)
    finally:
        stop(server)

    assert {task["metadata"]["length"] for task in tasks} == {len(t["title"]) for t in tasks}
    assert {task["assignee"]["handle"] for task in tasks} == {"helper"}


def run_commands(port: int, environment: dict[str, str]) -> dict[str, str]:
    """Run the page's commands, check their answers, and return the variables that they export."""
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)).replace("8000", str(port))
    script += '\nprintf "\\n%s\\n%s\\n" "$TASKFLOW_URL" "$TASKFLOW_TOKEN"\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "AGT-3 todo" in done.stdout
    assert '"resultType": "complete"' in done.stdout
    *_, url, token = done.stdout.splitlines()
    return {"TASKFLOW_URL": url, "TASKFLOW_TOKEN": token}


def wait_until_done(variables: dict[str, str]) -> list[dict]:
    """Return the tasks of the project once all are done."""
    request = urllib.request.Request(
        f"{variables['TASKFLOW_URL']}/api/v1/tasks?project=AGT",
        headers={"Authorization": f"Bearer {variables['TASKFLOW_TOKEN']}"},
    )
    for _ in range(SECONDS * 5):
        time.sleep(0.2)
        with urllib.request.urlopen(request) as response:
            tasks = json.load(response)["data"]
        if all(task["status"] == "done" for task in tasks):
            return tasks
    raise AssertionError(tasks)
