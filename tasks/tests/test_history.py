"""The events of tasks and projects: a sentence, the changed values, and nothing invisible."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page, publish_page, update_page
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task, move_task, update_task

pytestmark = pytest.mark.one_database


def sentences(client, path):
    return [e["sentence"] for e in client.get(path).json()["data"]]


def test_events_of_a_task_have_sentences(fixtures, as_):
    client = as_(fixtures.bob)
    client.patch("/tasks/APO-1", {"title": "Lift-off", "priority": "high", "tags": ["hot"]})
    client.post("/tasks/APO-1/assignment", {"assignee_id": fixtures.bot.user.pk})
    client.patch("/tasks/APO-1", {"description": "long"})
    client.post("/tasks/APO-1/completion")
    client.delete("/tasks/APO-1/completion")
    client.delete("/tasks/APO-1/assignment")

    r = client.get("/tasks/APO-1/events")

    assert [e["sentence"] for e in r.json()["data"]] == [
        "Bob (@bob) unassigned bot (@bot) from the task",
        "Bob (@bob) reopened the task",
        "Bob (@bob) completed the task",
        "Bob (@bob) changed the task: description",
        "Bob (@bob) assigned the task to bot (@bot)",
        "Bob (@bob) changed the task: priority from medium to high, tags to hot"
        " and title from Launch to Lift-off",
        "Ada (@ada) created the task “Launch”",
    ]
    event = r.json()["data"][2]
    assert event["verb"] == "task.completed"
    assert event["subject"] == {"type": "task", "id": fixtures.task.pk}
    assert event["changes"]["status"] == ["todo", "done"]
    assert (event["actor"]["handle"], event["via"]) == ("bob", "api")
    assert event["project_id"] == fixtures.apollo.pk


def test_events_of_a_project_include_its_rows(fixtures, as_):
    with inside(fixtures.acme):
        create_comment(fixtures.bob, fixtures.task, body="x")
        add_member(fixtures.ada, fixtures.apollo, user=fixtures.eve.user)
        publish_page(fixtures.bob, create_page(fixtures.bob, fixtures.apollo, title="Plan"))
    client = as_(fixtures.ada)
    client.patch("/projects/APO", {"status": "on_hold"})

    listed = sentences(client, "/projects/APO/events")

    assert listed[:5] == [
        "Ada (@ada) changed the project: status from active to on_hold",
        "Bob (@bob) published the page",
        "Bob (@bob) created the page “Plan”",
        "Ada (@ada) added Eve (@eve) to the project as member",
        "Bob (@bob) created the comment",
    ]
    assert listed[-1] == "Ada (@ada) created the project “Apollo”"


def test_events_of_drafts_of_other_users_are_left_out(fixtures, as_):
    with inside(fixtures.acme):
        page = create_page(fixtures.bob, fixtures.apollo, title="Secret plan")
        update_page(fixtures.bob, page, title="More secret")

    for actor, sees in (
        (fixtures.bob, True),
        (fixtures.carl, True),
        (fixtures.boss, True),
        (fixtures.bot, False),
    ):
        text = as_(actor).get("/projects/APO/events").content.decode()
        assert ("secret" in text.lower()) is sees


def test_names_of_invisible_rows_are_left_out(fixtures, as_):
    with inside(fixtures.acme):
        hidden = create_project(fixtures.ada, name="Hidden project", key="HID")
        blocker = create_task(fixtures.ada, hidden, title="Hidden blocker")
        task = create_task(fixtures.ada, hidden, title="Comes over")
        move_task(fixtures.ada, task, fixtures.apollo)
        update_task(fixtures.ada, task, blocked_by=[blocker])
    path = f"/tasks/{task.pk}/events"

    bobs, adas = (str(sentences(as_(actor), path)) for actor in (fixtures.bob, fixtures.ada))

    assert "Hidden" not in bobs
    assert f"blocked by to {blocker.pk}" in bobs
    assert "Hidden blocker" in adas


@pytest.mark.slow
def test_events_are_filtered_and_paged(fixtures, as_):
    client = as_(fixtures.bob)
    for title in "abc":
        client.patch("/tasks/APO-1", {"title": title})
    path = "/tasks/APO-1/events"
    first = client.get(f"{path}?limit=2").json()

    assert len(first["data"]) == 2
    rest = client.get(f"{path}?limit=2&cursor={first['next_cursor']}").json()
    assert [e["verb"] for e in rest["data"]] == ["task.changed", "task.created"]
    assert len(client.get(f"{path}?verb=task.created").json()["data"]) == 1
    assert len(client.get(f"{path}?verb=task.created&verb=task.changed").json()["data"]) == 4
    at = rest["data"][0]["at"]
    assert client.get(f"{path}?until=2020-01-01T00:00:00Z").json()["data"] == []
    assert len(client.get(f"{path}?since={at}").json()["data"]) in (3, 4)
    for wrong in ("verb=created", "since=yesterday", "actor=me"):
        assert client.get(f"{path}?{wrong}").status_code == 422


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        for path in (f"/tasks/{fixtures.task.pk}/events", f"/projects/{fixtures.apollo.pk}/events"):
            assert as_(actor).get(path).status_code == 404
