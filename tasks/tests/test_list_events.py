"""GET /events: what it answers, to whom, and which requests it refuses."""

from __future__ import annotations

import pytest

from conftest import ApiClient
from taskflow.audit.event_types import known_event_types
from taskflow.audit.feed import BEGINNING
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project, delete_project
from tasks.actions.trash import purge
from tasks.changes.tasks import complete_task, create_task, delete_task, move_task, update_task
from tasks.models import Project, Task


def read(client: ApiClient, query: str):
    response = client.get(f"/events?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def verbs(answer):
    return [event["verb"] for event in answer["data"]]


@pytest.fixture
def cursor(fixtures, as_):
    return as_(fixtures.ada).get("/events").json()["next_cursor"]


def test_without_after_reading_starts_now(fixtures, as_):
    client = as_(fixtures.ada)
    first = read(client, "")
    assert (first["data"], first["has_more"]) == ([], False)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Later")

    answer = read(client, f"after={first['next_cursor']}")

    assert verbs(answer) == ["task.created"]
    assert read(client, f"after={answer['next_cursor']}") == {
        "data": [], "next_cursor": answer["next_cursor"], "has_more": False
    }  # fmt: skip


def test_event_has_the_form_of_history_with_cursor_and_keys(fixtures, as_, cursor):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="Better")

    (event,) = read(as_(fixtures.ada), f"after={cursor}")["data"]
    (in_history, *_) = as_(fixtures.ada).get("/tasks/APO-1/events").json()["data"]

    assert event.pop("cursor")
    assert (event.pop("task_id"), event.pop("task_key")) == (fixtures.task.pk, "APO-1")
    assert event["subject"].pop("key") == "APO-1"
    assert event == in_history


def test_comment_is_an_event_with_its_task(fixtures, as_, cursor):
    with inside(fixtures.acme):
        create_comment(fixtures.bob, fixtures.task, body="Hello")

    (event,) = read(as_(fixtures.ada), f"after={cursor}&type=comment.created&task=APO-1")["data"]

    assert (event["verb"], event["task_key"]) == ("comment.created", "APO-1")
    assert event["changes"]["body"] == [None, "Hello"]


@pytest.mark.slow
def test_filters_take_keys_and_handles(fixtures, as_, cursor):
    with inside(fixtures.acme):
        task = create_task(fixtures.ada, fixtures.apollo, title="One")
        complete_task(fixtures.bob, task)

    def types(query):
        return verbs(read(as_(fixtures.ada), f"after={cursor}&{query}"))

    assert types(f"task={task.key}") == types(f"task={task.pk}") == types("project=apo")
    assert types("actor=@bob") == types(f"actor={fixtures.bob.user.pk}") == ["task.completed"]
    assert types("actor=me&project=APO") == ["task.created"]
    assert types("type=task.completed&type=task.created") == ["task.created", "task.completed"]
    assert types("type=task.moved") == []


def test_deleted_task_and_its_project_remain_filters(fixtures, as_, cursor):
    with inside(fixtures.acme):
        delete_task(fixtures.ada, Task.objects.get(pk=fixtures.task.pk))

    answer = read(as_(fixtures.ada), f"after={cursor}&task=APO-1")
    assert [(e["verb"], e["subject"]) for e in answer["data"]] == [
        ("task.deleted", {"type": "task", "id": fixtures.task.pk, "key": "APO-1"})
    ]
    with inside(fixtures.acme):
        delete_project(fixtures.ada, Project.objects.get(pk=fixtures.apollo.pk))
    answer = read(as_(fixtures.ada), f"after={cursor}&project=apo")
    assert [(e["verb"], e["subject"]["key"]) for e in answer["data"]] == [
        ("project.deleted", "APO")
    ]


def test_permanently_deleted_rows_are_named_by_their_keys(fixtures, as_, cursor):
    with inside(fixtures.acme):
        task = Task.objects.get(pk=fixtures.task.pk)
        create_comment(fixtures.ada, task, body="x")
        delete_task(fixtures.ada, task)
        purge(fixtures.ada, Task.everything.get(pk=task.pk))

    answer = read(as_(fixtures.ada), f"after={cursor}")

    by_verb = {e["verb"]: e for e in answer["data"]}
    assert by_verb["task.purged"]["subject"]["key"] == "APO-1"
    assert by_verb["comment.purged"]["task_id"] == task.pk


def test_task_that_is_moved_out_of_a_project_is_an_event_of_both(fixtures, as_):
    with inside(fixtures.acme):
        create_project(fixtures.ada, name="Zeus", key="ZEU")
        cursor = as_(fixtures.ada).get("/events").json()["next_cursor"]
        zeus = Project.objects.get(key="ZEU")
        move_task(fixtures.ada, Task.objects.get(pk=fixtures.task.pk), zeus)

    assert verbs(read(as_(fixtures.ada), f"after={cursor}&project=APO")) == ["task.moved"]
    assert verbs(read(as_(fixtures.ada), f"after={cursor}&project=ZEU")) == ["task.moved"]
    assert verbs(read(as_(fixtures.bob), f"after={cursor}&project=APO")) == []


# ---- who sees what ------------------------------------------------------------------------------


def test_only_administrators_see_events_outside_projects(fixtures, as_):
    clients = {name: as_(getattr(fixtures, name)) for name in ("boss", "ada", "bob", "eve")}
    bound = as_(fixtures.boss, project_ids=[fixtures.apollo.pk])

    events = {name: read(c, "after=0&limit=200")["data"] for name, c in clients.items()}
    events["bound"] = read(bound, "after=0&limit=200")["data"]

    assert {"user", "apitoken"} <= {e["subject"]["type"] for e in events["boss"]}
    for name in ("ada", "bob", "bound"):
        assert events[name]
        assert {e["project_id"] for e in events[name]} == {fixtures.apollo.pk}
    assert events["eve"] == []


def test_other_tenant_has_its_own_events(fixtures, as_, cursor):
    client = as_(fixtures.mallory)

    assert client.get(f"/events?after={cursor}").status_code == 410
    projects = {e["project_id"] for e in read(client, "after=0&limit=200")["data"]}
    assert projects == {None, fixtures.secret.pk}
    for query in ("project=APO", "task=APO-1", "actor=@ada"):
        refused = client.get(f"/events?after=0&{query}")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (
            422, "unknown_reference"
        )  # fmt: skip


def test_token_that_is_bound_to_a_project_reads_that_project(fixtures, as_):
    with inside(fixtures.acme):
        zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")
        cursor = as_(fixtures.ada).get("/events").json()["next_cursor"]
        create_task(fixtures.ada, fixtures.apollo, title="Apollo's")
        create_task(fixtures.ada, zeus, title="Zeus's")

    bound = as_(fixtures.ada, "read", project_ids=[zeus.pk])

    titles = [e["changes"]["title"][1] for e in read(bound, f"after={cursor}")["data"]]
    assert titles == ["Zeus's"]
    assert bound.get("/events?after=0&project=APO").status_code == 422


def test_draft_is_seen_by_those_who_see_the_page(fixtures, as_, cursor):
    with inside(fixtures.acme):
        create_page(fixtures.carl, fixtures.apollo, title="Draft")

    assert verbs(read(as_(fixtures.carl), f"after={cursor}")) == ["page.created"]
    assert verbs(read(as_(fixtures.bob), f"after={cursor}")) == []


# ---- a list with its position in the log --------------------------------------------------------


def test_list_with_cursor_is_followed_by_its_changes(fixtures, as_):
    client = as_(fixtures.ada)
    page = client.get("/tasks?project=APO&include=cursor").json()
    assert [task["key"] for task in page["data"]] == ["APO-1"]
    assert read(client, f"after={page['events_cursor']}")["data"] == []
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Later")

    answer = read(client, f"after={page['events_cursor']}")

    assert [event["task_key"] for event in answer["data"]] == ["APO-2"]


def test_list_without_include_has_no_events_cursor(fixtures, as_):
    assert "events_cursor" not in as_(fixtures.ada).get("/tasks").json()
    assert "events_cursor" not in as_(fixtures.ada).get("/tasks?include=count").json()
    assert as_(fixtures.ada).get("/projects?include=cursor").status_code == 422


def test_text_of_a_list_has_the_events_cursor(fixtures, as_):
    client = as_(fixtures.ada)
    text = client.get("/tasks?include=cursor&format=text").content.decode()

    cursor = client.get("/tasks?include=cursor").json()["events_cursor"]
    assert f"Events after: {cursor}" in text


# ---- refused requests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("after=x", 400, "invalid_cursor"),
        ("after=WzEsMCw5OTk5OTk5OV0", 410, "cursor_expired"),
        ("after=", 422, "validation_failed"),
        ("after=0&after=0", 422, "invalid"),
        ("after=0&limit=0", 422, "validation_failed"),
        ("after=0&limit=201", 422, "validation_failed"),
        ("after=0&type=task.complete", 422, "invalid"),
        ("after=0&type=", 422, "validation_failed"),
        ("after=0&project=NOPE", 422, "invalid"),
        ("after=0&task=APO-999", 422, "invalid"),
        ("after=0&actor=@nobody", 422, "invalid"),
        ("cursor=0", 422, "invalid"),
    ],
)
@pytest.mark.sampled(12)
def test_wrong_request_is_refused(fixtures, as_, query, status, code):
    response = as_(fixtures.ada).get(f"/events?{query}")

    assert (response.status_code, response.json()["code"]) == (status, code), response.content


def test_expired_cursor_says_how_to_start_again(fixtures, as_):
    detail = as_(fixtures.ada).get("/events?after=WzEsMCw5OTk5OTk5OV0").json()["detail"]

    assert "include=cursor" in detail
    assert f"after={BEGINNING}" in detail


def test_misspelt_type_is_answered_with_the_nearest(fixtures, as_):
    detail = as_(fixtures.ada).get("/events?after=0&type=task.complete").json()["detail"]

    assert "“task.completed”" in detail


def test_recorded_events_have_known_types(fixtures, as_):
    with inside(fixtures.acme):
        recorded = {e["verb"] for e in read(as_(fixtures.boss), "after=0&limit=200")["data"]}

    assert recorded <= known_event_types()
    assert {"task.completed", "comment.created", "session.ended"} <= known_event_types()
