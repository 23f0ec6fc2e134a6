"""The commands of docs/claims.md succeed one after the other."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from taskflow.tenancy import inside
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database
PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)


def send(client, command, names):
    """Send what a curl command of the page would send, with values in place of its variables."""
    words = shlex.split(command.replace("\\\n", " "))
    headers = [words[n + 1] for n, word in enumerate(words) if word == "-H"]
    claim = [h.partition(": ")[2] for h in headers if h.startswith("Claim:")]
    path = words[words.index("-X") + 2].removeprefix("$URL/api/v1")
    for name, value in names.items():
        path = path.replace(f"${name}", str(value))
    sent = {"Claim": str(names["CLAIM"])} if claim == ["$CLAIM"] else {}
    body = json.loads(words[words.index("-d") + 1])
    return getattr(client, words[words.index("-X") + 1].lower())(path, body, headers=sent)


def test_commands_of_the_page_work_on_a_task_from_claim_to_completion(fixtures, as_):
    with inside(fixtures.acme):
        web = ProjectFactory(actor=fixtures.ada, name="Website", key="WEB")
        task = TaskFactory(actor=fixtures.ada, project=web)
    client = as_(fixtures.ada)

    granted = send(client, COMMANDS[0], {})
    names = {"CLAIM": granted.json()["data"][0]["id"], "TASK": task.pk}
    statuses = [send(client, command, names).status_code for command in COMMANDS[1:]]

    assert (granted.status_code, statuses) == (201, [200, 200, 200])
    assert client.get(f"/tasks/{task.pk}").json()["status"] == "done"
