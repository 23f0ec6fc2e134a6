"""The README's commands run as written, and its table lists every setting."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from taskflow import env
from taskflow.tests.server import clean_environment, free_port, serve, stop

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.readme
def test_commands_of_the_readme_and_the_tour_run_as_written(tmp_path):
    port, environment = free_port(), clean_environment(tmp_path / "data")
    process = serve(port, environment, tmp_path / "log")
    try:
        script = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S))
        # Print each status on its own line, except for the response that the shell reads.
        script = script.replace("curl -s", "curl -s -w '\\n%{http_code}\\n'")
        script = script.replace("$(curl -s -w '\\n%{http_code}\\n'", "$(curl -s")
        command = ["bash", "-euo", "pipefail", "-c", script.replace("8000", str(port))]
        runs = [
            subprocess.run(command, env=environment, capture_output=True, text=True)
            for _ in range(2)  # a reader may repeat them
        ]
        greeting = (tmp_path / "log").read_text()
        command_line = re.search(r"^  (curl .*)$", greeting, re.M)
        first = subprocess.run(["bash", "-c", command_line[1]], capture_output=True, text=True)
        tour = subprocess.run(
            ["bash", "docs/tour.sh", f"http://127.0.0.1:{port}"],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        stop(process)

    for run, key in zip(runs, ("ML", "MLA"), strict=True):
        assert run.returncode == 0, run.stderr
        assert re.findall(r"^(\d{3})$", run.stdout, re.M) == [
            "200", "201", "200", "200", "200", "200", "204", "200", "422",
        ]  # fmt: skip
        assert f'"key":"{key}-1"' in run.stdout
        assert re.search(r'"undone": ?\[\d', run.stdout)  # the undo found the deletion
        assert "“asignee” is not a parameter of this operation" in run.stdout
    assert '"has_more": true' in first.stdout
    for what in ("/admin/", "ada@acme.example", "/api/v1/docs", "tf_1_"):
        assert what in greeting
    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert tour.stdout.count("\n> ") == tour.stdout.count("\n< ") >= 50
    assert "That was the tour." in tour.stdout
    file = str(tmp_path / "acme.jsonl")
    for arguments in (["export", "acme", "--output", file], ["import", file, "--as", "copy"]):
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=environment, check=True, capture_output=True,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.readme
def test_starting_again_after_a_kill_keeps_all_data(tmp_path):
    port, environment = free_port(), clean_environment(tmp_path / "data")
    token_line = re.compile(r"Token +(tf_\S+)")

    def call(token: str, path: str, data: bytes | None = None) -> str:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1{path}", data, headers)
        with urllib.request.urlopen(request) as response:
            return response.read().decode()

    process = serve(port, environment, tmp_path / "log")
    first = token_line.search((tmp_path / "log").read_text())[1]
    call(first, "/projects", b'{"name": "Kept project"}')
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)

    process = serve(port, environment, tmp_path / "log2")
    try:
        second = token_line.search((tmp_path / "log2").read_text())[1]
        assert second == first
        assert "Kept project" in call(second, "/projects")
        taken = subprocess.run(
            [sys.executable, "manage.py", "serve", "--port", str(port)],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        stop(process)
    assert taken.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in taken.stderr
    assert "Traceback" not in taken.stderr


def test_every_setting_is_in_the_table_of_the_readme():
    rows = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", README, re.M)
    table = {name for row in rows for name in re.findall(r"[A-Z_]+", row)}

    assert table == env._names_read


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))

    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


def test_every_file_linked_in_the_readme_exists():
    for link in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / link.partition("#")[0]).exists(), link


def test_requests_of_the_docs_name_rows_by_keys_and_handles():
    """An id that was copied from a fresh demo names another row, or none, in another database."""
    paths = [ROOT / "README.md", ROOT / "docs" / "tour.sh", *(ROOT / "docs").glob("*.md")]

    found = {
        path.name: re.findall(
            r'"(?!request)\w+_id": *[0-9\'"]|/(?:projects|tasks|users)/\d+', path.read_text()
        )
        for path in paths
    }

    assert {name: ids for name, ids in found.items() if ids} == {}
