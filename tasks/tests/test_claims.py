"""Claims: taking, extending and finishing the lease of a task."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.tests.factories import TaskFactory


@pytest.fixture
def open_task(fixtures):
    with inside(fixtures.acme):
        return TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Free")


def claim(client, **body):
    r = client.post("/claims", body)
    assert r.status_code == 201, r.content
    return r.json()["data"][0]


def test_claim_of_the_next_task_sets_it_in_progress(fixtures, as_, open_task):
    granted = claim(as_(fixtures.bot), worker="host7/3")

    assert (granted["fence"], granted["attempt"]) == (1, 1)
    task = granted["task"]
    assert (task["id"], task["status"]) == (open_task.pk, "in_progress")
    assert task["assignee"]["handle"] == "bot"
    assert granted["context"]["project"]["key"] == "APO"


def test_second_claim_finds_no_task(fixtures, as_, open_task):
    claim(as_(fixtures.bot))

    assert as_(fixtures.bot).post("/claims", {}).status_code == 204


def test_finish(fixtures, as_, open_task):
    bot = as_(fixtures.bot)
    granted = claim(bot)
    body = {"outcome": "completed", "comment": "Done.", "result": {"pr": 17}}

    first = bot.post(f"/claims/{granted['id']}/completion", body)
    second = bot.post(f"/claims/{granted['id']}/completion", body)

    assert first.status_code == 200, first.content
    assert first.json() == second.json()
    task = bot.get(f"/tasks/{open_task.pk}").json()
    assert (task["status"], task["metadata"]) == ("done", {"pr": 17})


def test_write_of_an_agent_without_the_header_is_refused(fixtures, as_, open_task):
    bot = as_(fixtures.bot)
    granted = claim(bot, worker="w1")

    refused = bot.patch(f"/tasks/{open_task.pk}", {"title": "New"})
    allowed = bot.patch(
        f"/tasks/{open_task.pk}", {"title": "New"}, headers={"Claim": str(granted["id"])}
    )

    assert (refused.status_code, refused.json()["code"]) == (409, "claimed")
    assert refused.json()["errors"][0]["worker"] == "w1"
    assert allowed.status_code == 200, allowed.content
