"""The commands of docs/first-hour.md run as written, on an empty server with DEBUG off."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request

import pytest

from taskflow.tests.server import ROOT, clean_environment, free_port, serve, stop

PAGE = (ROOT / "docs/first-hour.md").read_text()
OWNER = ["--name", "Example", "--full-name", "Ada Example", "--email", "ada@example.org"]
PASSWORD = "Kestrel-harbour-91"


@pytest.mark.slow
@pytest.mark.readme
def test_commands_of_the_first_hour_run_as_written(tmp_path):
    port = free_port()
    environment = clean_environment(tmp_path / "data") | {
        "TASKFLOW_DEBUG": "0",
        "TASKFLOW_LINK_PORT": str(port),
    }
    log = tmp_path / "log"
    process = serve(port, environment, log)
    try:
        greeting = log.read_text()
        created = subprocess.run(
            [sys.executable, "manage.py", "create_tenant", *OWNER, "--password-stdin"],
            cwd=ROOT, env=environment, input=PASSWORD, capture_output=True, text=True, check=True,
        )  # fmt: skip
        token = call(port, "auth/login", {"email": "ada@example.org", "password": PASSWORD})[
            "token"
        ]
        do_what_the_page_does_in_the_browser(port, token)
        script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S))
        script = script.replace(".venv/bin/python", sys.executable).replace("8000", str(port))
        script = script.replace("curl -s", "curl -s -w '\\n%{http_code}\\n'")
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT, env=environment | {"TOKEN": token}, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        stop(process)

    assert "There is no tenant yet, so nobody can sign in." in greeting
    for line in ("The tenant “Example” is created.", "It is the default tenant"):
        assert line in created.stdout
        assert line in PAGE
    assert f"http://localhost:{port}/admin/" in created.stdout
    assert ended.returncode == 0, ended.stdout + ended.stderr
    codes = re.findall(r"^(\d{3})$", ended.stdout, re.M)
    assert codes == ["200", "200", "201", "200", "409", "200", "200"]
    assert "The file is complete" in ended.stdout


def do_what_the_page_does_in_the_browser(port: int, token: str) -> None:
    call(port, "projects", {"name": "Website"}, token)
    ben = {"handle": "ben", "email": "ben@example.org", "password": PASSWORD}
    call(port, "users", ben, token)
    call(port, "projects/WEB/members", {"user": "@ben"}, token)
    call(port, "tasks", {"project": "WEB", "title": "Write the imprint", "assignee": "@ben"}, token)


def call(port: int, path: str, body: dict[str, object], token: str = "") -> dict[str, str]:
    """Send a POST request to the API. Raises HTTPError when it is refused."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = f"http://127.0.0.1:{port}/api/v1/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read())
