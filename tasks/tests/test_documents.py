"""The responses that the database builds are equal to those of pydantic, on both databases."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest

from accounts.schemas.events import EventResponse, build_event_response
from taskflow.audit.history import read_history
from taskflow.audit.models import Event
from taskflow.http.openapi import Encoder
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, update_comment
from tasks.actions.pages import create_page, publish_page
from tasks.actions.projects import create_project, update_project
from tasks.api import row_queries
from tasks.api.json_builders import JSON_BUILDERS
from tasks.api.row_queries import DETAIL_QUERIES
from tasks.changes.tasks import create_task, move_task, update_task
from tasks.models import Comment, Page, Project, Task
from tasks.models.registry import TRASHABLE_TYPES
from tasks.queries import filters
from tasks.schemas.comments import CommentResponse
from tasks.schemas.pages import PageResponse
from tasks.schemas.projects import ProjectResponse
from tasks.schemas.tasks import TaskResponse

ODD = [
    {"title": "plain"},
    {"title": 'ü 🚀 \u2028 \\ "quotes" \t\n </script> %s %(x)s {}', "description": "'; --\n\x7f"},
    {"title": "x" * 500, "description": "y" * 65_536},
    {"title": "days", "due_on": date(1970, 1, 1)},
    {"title": "days", "due_on": date(2199, 12, 31)},
    {"title": "instants", "due_date": datetime.fromisoformat("1970-01-01T00:00:00+00:00")},
    {"title": "instants", "due_date": datetime.fromisoformat("2199-12-31T23:59:59.999999+00:00")},
    {"title": "instants", "due_date": datetime.fromisoformat("2026-12-01T08:00:00.120000+00:00")},
    {"title": "numbers", "metadata": {"a": 2**63 - 1, "b": -(2**63), "c": 1.5, "d": 1e-7}},
    {"title": "json", "metadata": {"": None, "a": [], "b": {}, "c": [True, False, 0, 1, "1"]}},
    {"title": "json", "metadata": {'ü"': {"deep": [[[{"x": "\u0001\n"}]]]}}},
    {"title": "done", "status": "done", "priority": "high"},
    {"title": "tags", "tags": ["b", "A", "ü", "a b"]},
    {"title": "ref", "external_ref": "r-1", "priority": "low"},
]


@pytest.fixture
def acme(fixtures):
    """Tasks with all fields and many values, and rows of the other types."""
    with inside(fixtures.acme):
        for values in ODD:
            create_task(fixtures.ada, fixtures.apollo, **values)
        update_task(fixtures.ada, Task.objects.get(title="plain"), assignee=fixtures.bob.user)
        blocker = Task.objects.get(title="ref")
        hidden = create_project(fixtures.boss, name="Hidden", key="HID")
        moved = create_task(fixtures.boss, hidden, title="moved", blocked_by=[blocker])
        done = Task.objects.get(title="done")
        update_task(fixtures.boss, fixtures.task, blocked_by=[blocker, moved, done], parent=blocker)
        update_task(fixtures.boss, Task.objects.get(title="tags"), blocked_by=[done])
        move_task(fixtures.boss, blocker, hidden)
        for n, text in enumerate([ODD[1]["title"], "x" * 65_536, "plain"]):
            page = create_page(fixtures.ada, fixtures.apollo, title=f"{n}", body=text)
            if n:
                publish_page(fixtures.ada, page)
            comment = create_comment(fixtures.bob, Task.objects.get(title="done"), body=text)
        update_comment(fixtures.bob, comment, body="again")
        for values in ({"metadata": ODD[10]["metadata"]}, {"description": ODD[1]["title"]}):
            update_project(fixtures.ada, fixtures.apollo, **values)
        yield fixtures


def as_json(document):
    return json.loads(json.dumps(document.model_dump(), cls=Encoder))


def task_by_pydantic(actor, pk):
    return TaskResponse.from_orm(Task.objects.with_details().get(pk=pk))


def project_by_pydantic(actor, pk):
    return ProjectResponse.from_orm(Project.objects.with_details(actor.viewer).get(pk=pk))


def page_by_pydantic(actor, pk):
    return PageResponse.from_orm(Page.objects.select_related("owner").get(pk=pk))


def comment_by_pydantic(actor, pk):
    return CommentResponse.from_orm(Comment.objects.select_related("author").get(pk=pk))


def event_by_pydantic(actor, pk):
    (entry,) = read_history(
        actor, [Event.objects.select_related("actor", "on_behalf_of").get(pk=pk)]
    )
    return EventResponse.model_validate(build_event_response(entry))


KINDS = {
    Task: ("/tasks", task_by_pydantic, TaskResponse, 12),
    Project: ("/projects", project_by_pydantic, ProjectResponse, 1),
    Page: ("/pages", page_by_pydantic, PageResponse, 2),
    Comment: ("/comments", comment_by_pydantic, CommentResponse, 3),
}


def test_json_of_every_resource_type_is_compared():
    assert KINDS.keys() == JSON_BUILDERS.keys() == {t.model for t in TRASHABLE_TYPES}


@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("who", ["boss", "ada", "bob"])
@pytest.mark.slow
def test_each_row_is_equal_from_database_and_pydantic(acme, who, model):
    actor = getattr(acme, who)
    _path, by_pydantic, schema, least = KINDS[model]
    ids = list(model.objects.visible_to(actor.viewer).values_list("pk", flat=True))
    assert len(ids) >= least

    for pk in ids:
        text = DETAIL_QUERIES[model].fetch(actor.viewer, {"pk": pk}).text

        assert json.loads(text) == as_json(by_pydantic(actor, pk))
        assert list(json.loads(text)) == [n for n in schema.model_fields if n != "comments"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("who", ["boss", "bob"])
@pytest.mark.slow
def test_list_contains_the_same_json_as_single_rows(acme, as_, who, model):
    actor = getattr(acme, who)
    path, by_pydantic, _schema, _least = KINDS[model]

    page = as_(actor).get(f"{path}?limit=200&include=count").json()

    with inside(acme.acme):
        rows = model.objects.visible_to(actor.viewer).order_by("-id")
        expected = [as_json(by_pydantic(actor, pk)) for pk in rows.values_list("pk", flat=True)]
    shown = sorted(page["data"], key=lambda row: -row["id"])
    assert shown == expected
    assert (page["count"], page["has_more"], page["next_cursor"]) == (len(expected), False, None)


@pytest.mark.slow
def test_events_are_equal_from_database_and_pydantic(acme, as_):
    page = as_(acme.boss).get("/projects/APO/events?limit=200").json()

    assert len(page["data"]) > 20
    with inside(acme.acme):
        for event in page["data"]:
            assert event == as_json(event_by_pydantic(acme.boss, event["id"]))


@pytest.mark.slow
def test_bulk_response_contains_the_same_json_as_single_rows(acme, as_):
    with inside(acme.acme):
        ids = list(Task.objects.visible_to(acme.ada.viewer).values_list("pk", flat=True))
    operations = [{"op": "update", "id": pk, "data": {}} for pk in ids]

    r = as_(acme.ada).post("/tasks/bulk", {"operations": operations})

    with inside(acme.acme):
        expected = [as_json(task_by_pydantic(acme.ada, pk)) for pk in ids]
    assert [result["task"] for result in r.json()["results"]] == expected


def test_detail_query_is_compiled_once(acme, monkeypatch):
    ids = Task.objects.visible_to(acme.ada.viewer).values_list("pk", flat=True)
    DETAIL_QUERIES[Task].fetch(acme.ada.viewer, {"pk": ids[0]})
    monkeypatch.setattr(Task, "objects", None)

    assert DETAIL_QUERIES[Task].fetch(acme.bob.viewer, {"pk": ids[0]})


def test_list_is_compiled_once_for_values_of_one_variant(acme, as_, monkeypatch):
    queries = ("status=todo&assignee=me", "status=done&assignee=none", "tag=a&tag=b")
    first = [as_(acme.ada).get(f"/tasks?{query}&sort=-priority").json() for query in queries]
    monkeypatch.setattr(filters, "apply_filters", None)
    monkeypatch.setattr(row_queries, "apply_filters", None)

    for query, page in zip(queries, first, strict=True):
        assert as_(acme.ada).get(f"/tasks?{query}&sort=-priority").json() == page
    assert (
        as_(acme.bob).get("/tasks?status=in_progress&assignee=me&sort=-priority").status_code == 200
    )
    assert as_(acme.bob).get("/tasks?tag=c&tag=d&sort=-priority").json()["data"] == []


@pytest.mark.isolation
def test_compiled_query_returns_rows_of_the_current_tenant(fixtures, as_):
    assert as_(fixtures.boss).get(f"/tasks/{fixtures.task.pk}").status_code == 200
    assert as_(fixtures.mallory).get(f"/tasks/{fixtures.task.pk}").status_code == 404
    assert as_(fixtures.mallory).get(f"/tasks/{fixtures.secret_task.pk}").status_code == 200
    assert as_(fixtures.boss).get(f"/tasks/{fixtures.secret_task.pk}").status_code == 404


@pytest.mark.parametrize("bound", [1, 2])
def test_token_limited_to_projects_reads_those_projects(fixtures, as_, bound):
    with inside(fixtures.acme):
        others = [create_project(fixtures.ada, name=f"O{n}").pk for n in range(bound)]

    assert as_(fixtures.ada, project_ids=others).get("/tasks/APO-1").status_code == 404
    allowed = as_(fixtures.ada, project_ids=[*others, fixtures.apollo.pk])
    assert allowed.get("/tasks/APO-1").status_code == 200
