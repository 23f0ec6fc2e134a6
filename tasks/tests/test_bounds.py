"""Limits on the tags of a task and on what one request may write, on every channel."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conftest import PASSWORD
from taskflow.audit import text_size
from taskflow.audit.text_size import MAX_TEXT_BYTES
from taskflow.tenancy import inside
from tasks.actions import tags as tag_actions
from tasks.actions.tags import MAX_NEW_TAGS, create_tag, delete_tag
from tasks.api import bulk as bulk_api
from tasks.changes.tasks import create_task, update_task
from tasks.models import Tag, Task
from tasks.models.tasks import MAX_TAGS
from tasks.tests.test_admin import address, form_of, sign_in

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

FIFTY = [f"t{n}" for n in range(MAX_TAGS)]


def bulk(client, *operations, **more):
    return client.post("/tasks/bulk", {"operations": list(operations)} | more)


def tags_of(fixtures, task):
    with inside(fixtures.acme):
        return sorted(tag.name for tag in task.tags.all())


@pytest.fixture
def full(fixtures):
    """A task with the greatest allowed number of tags."""
    with inside(fixtures.acme):
        return create_task(fixtures.ada, fixtures.apollo, title="full", tags=FIFTY)


@pytest.fixture
def staff_client(fixtures):
    with inside(fixtures.acme):
        fixtures.boss.user.set_password(PASSWORD)
        type(fixtures.boss.user).objects.filter(pk=fixtures.boss.user.pk).update(
            password=fixtures.boss.user.password
        )
    return sign_in("boss@acme.example")


# ---- tags of one task ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["create", "update", "upsert", "first tasks", "bulk create",
                                 "bulk update", "bulk tag", "csv"])  # fmt: skip
def test_task_with_more_than_fifty_tags_is_refused_by_every_verb(fixtures, as_, full, way):
    client, names = as_(fixtures.bob), [*FIFTY, "more"]
    new = {"project_id": fixtures.apollo.pk, "title": "x", "tags": names}
    r = {
        "create": lambda: client.post("/tasks", new),
        "update": lambda: client.patch(f"/tasks/{full.pk}", {"tags": names}),
        "upsert": lambda: client.put("/projects/APO/tasks/by-ref/r", {"title": "x", "tags": names}),
        "first tasks": lambda: client.post(
            "/projects", {"name": "x", "tasks": [{"title": "x", "tags": names}]}
        ),
        "bulk create": lambda: bulk(client, {"op": "create", "data": new}),
        "bulk update": lambda: bulk(
            client, {"op": "update", "id": full.pk, "data": {"tags": names}}
        ),
        "bulk tag": lambda: bulk(client, {"op": "tag", "id": full.pk, "data": {"tags": ["more"]}}),
        "csv": lambda: client.generic(
            "POST", "/projects/APO/tasks.csv", f"title,tags\nx,{';'.join(names)}\n",
            content_type="text/csv",
        ),
    }[way]()  # fmt: skip

    assert r.status_code == 422, r.content
    error = r.json()["errors"][0]
    assert "tags" in error.get("pointer", error.get("column", ""))
    assert tags_of(fixtures, full) == sorted(FIFTY)
    with inside(fixtures.acme):
        assert not Tag.objects.filter(name="more").exists()


def test_tagging_in_steps_is_refused_at_the_step_that_exceeds_the_bound(fixtures, as_):
    tag = lambda *names: {"op": "tag", "id": fixtures.task.pk, "data": {"tags": names}}  # noqa: E731
    client = as_(fixtures.bob)

    r = bulk(client, tag(*FIFTY[:30]), tag(*FIFTY[30:]), tag("T0", "t1"), tag("more"))

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/operations/3/data/tags")
    assert r.json()["errors"][0]["code"] == "too_many"
    r = bulk(client, tag(*FIFTY), tag("more"), tag("t0"), on_error="skip")
    assert [x["ok"] for x in r.json()["results"]] == [True, False, True]
    assert tags_of(fixtures, fixtures.task) == sorted(FIFTY)


def test_tags_removed_by_an_operation_can_be_replaced_by_the_next(fixtures, as_, full):
    client = as_(fixtures.bob)
    untag = {"op": "untag", "id": full.pk, "data": {"tags": ["t0"]}}
    tag = {"op": "tag", "id": full.pk, "data": {"tags": ["more"]}}

    assert bulk(client, untag, tag).status_code == 200
    assert "more" in tags_of(fixtures, full)
    update = {"op": "update", "id": full.pk, "data": {"tags": ["only"]}}
    assert bulk(client, update, tag).status_code == 200
    assert tags_of(fixtures, full) == ["more", "only"]


def test_task_that_has_more_than_fifty_tags_may_lose_some(fixtures, as_, full):
    with inside(fixtures.acme):
        extra = [create_tag(fixtures.ada, name=f"u{n}") for n in range(3)]
        full.tags.through.objects.bulk_create(
            [full.tags.through(task=full, tag=tag) for tag in extra]
        )

    r = bulk(as_(fixtures.bob), {"op": "untag", "id": full.pk, "data": {"tags": ["u0"]}})

    assert r.status_code == 200
    assert len(tags_of(fixtures, full)) == MAX_TAGS + 2


def test_form_with_more_than_fifty_tags_is_refused(fixtures, staff_client, full):
    with inside(fixtures.acme):
        create_tag(fixtures.ada, name="more")
        names = [tag.name for tag in Tag.objects.all()]
    page = address(Task, "change", full.pk)

    r = staff_client.post(page, form_of(staff_client.get(page)) | {"labels": names})

    assert "at most 50 tags" in r.content.decode()
    assert tags_of(fixtures, full) == sorted(FIFTY)


def test_undo_that_would_give_a_task_too_many_tags_is_refused(fixtures, as_, full):
    client = as_(fixtures.ada)
    r = bulk(client, {"op": "untag", "id": full.pk, "data": {"tags": ["t0"]}})
    untagged = r["X-Request-Id"]
    bulk(client, {"op": "tag", "id": full.pk, "data": {"tags": ["more"]}})

    r = client.post("/undo", {"request_id": untagged})

    assert (r.status_code, r.json()["code"]) == (409, "cannot_undo")
    assert r.json()["errors"][0]["code"] == "too_many"
    r = client.post("/undo", {"request_id": untagged, "on_conflict": "skip"})
    assert (r.status_code, len(tags_of(fixtures, full))) == (200, MAX_TAGS)


def test_undo_that_would_restore_a_tag_beyond_the_limit_is_refused(fixtures, as_, events, full):
    with inside(fixtures.acme):
        delete_tag(fixtures.boss, Tag.objects.get(name="t0"))
        update_task(fixtures.ada, full, tags=[*FIFTY[1:], "more"])
    (deleted,) = events(fixtures.acme, subject_type="tag", verb="deleted")

    r = as_(fixtures.boss).post("/undo", {"event_ids": [deleted.pk]})

    assert (r.status_code, r.json()["errors"][0]["code"]) == (409, "too_many")
    with inside(fixtures.acme):
        assert not Tag.objects.filter(name="t0").exists()


# ---- new tags of one request --------------------------------------------------------------------


def creations(fixtures, count, start=0):
    """Return operations that use `count` tag names in total, two for each task."""
    return [
        {"op": "create", "data": {"project_id": fixtures.apollo.pk, "title": "x",
                                  "tags": [f"n{n}", f"n{n + 1}"]}}
        for n in range(start, start + count, 2)
    ]  # fmt: skip


def test_limits_of_one_request_have_the_documented_values():
    """The tests below lower the limits in order to be fast."""
    assert (MAX_NEW_TAGS, MAX_TEXT_BYTES) == (100, 4 * 1024 * 1024)


def test_request_that_would_create_too_many_tags_is_refused(fixtures, as_, monkeypatch):
    monkeypatch.setattr(tag_actions, "MAX_NEW_TAGS", 8)
    client = as_(fixtures.bob)

    for operations in (
        creations(fixtures, 10),
        # neither half alone is too much
        [*creations(fixtures, 6), *({"op": "tag", "id": fixtures.task.pk, "data": {"tags": [f"m{n}"]}}
                                 for n in range(3))],
    ):  # fmt: skip
        for more in ({}, {"on_error": "skip"}):
            r = bulk(client, *operations, **more)
            assert (r.status_code, r.json()["code"]) == (422, "too_many")
    csv_text = "title,tags\n" + "".join(f"x,s{n}\n" for n in range(9))
    r = client.generic("POST", "/projects/APO/tasks.csv", csv_text, content_type="text/csv")
    assert (r.status_code, r.json()["code"]) == (422, "too_many")
    first = [{"title": "x", "tags": [f"p{n}"]} for n in range(9)]
    r = client.post("/projects", {"name": "x", "tasks": first})
    assert (r.status_code, r.json()["code"]) == (422, "too_many")

    with inside(fixtures.acme):
        assert not Tag.objects.exists()
    assert bulk(client, *creations(fixtures, 8)).status_code == 200
    assert bulk(client, *creations(fixtures, 16)).status_code == 200, "8 exist, 8 are new"


# ---- text of one request ------------------------------------------------------------------------


@pytest.fixture
def many(fixtures):
    with inside(fixtures.acme):
        for n in range(80):
            create_task(fixtures.ada, fixtures.apollo, title=f"m{n}")


@pytest.mark.parametrize(
    "data",
    [{"description": "x" * 60_000}, {"description": "ü" * 30_000}, {"metadata": {"a": "x" * 30_000},
     "description": "x" * 30_000}],
)  # fmt: skip
def test_where_that_would_write_too_much_text_is_refused(fixtures, as_, many, data):
    """81 times 60,000 bytes are more than 4 MiB, though the request has only 60,000."""
    client = as_(fixtures.bob)
    update = {"op": "update", "where": {"project": ["APO"]}, "data": data}

    for more in ({}, {"on_error": "skip"}):
        r = bulk(client, {"op": "complete", "id": fixtures.task.pk}, update, **more)

        assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "too_large")
        assert r.json()["errors"][0]["pointer"] == "#/operations/1"
    with inside(fixtures.acme):
        assert not Task.objects.exclude(description="").exists()
        assert not Task.objects.filter(status="done").exists()


@pytest.mark.slow
def test_replaced_text_counts_as_well(fixtures, as_, many, monkeypatch):
    """The event log stores the replaced text."""
    monkeypatch.setattr(text_size, "MAX_TEXT_BYTES", 81 * 520)
    client = as_(fixtures.bob)
    update = {"op": "update", "where": {"project": ["APO"]}}
    assert bulk(client, update | {"data": {"description": "x" * 500}}).status_code == 200
    assert bulk(client, update | {"data": {"priority": "high"}}).status_code == 200

    r = bulk(client, update | {"data": {"description": "y" * 30}})

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "too_large")
    assert bulk(client, update | {"data": {"description": ""}}).status_code == 200


def write_long_texts(fixtures, count, length=500):
    """Create tasks with an external_ref and a description of this length."""
    with inside(fixtures.acme):
        for n in range(count):
            create_task(
                fixtures.ada, fixtures.apollo, title=f"m{n}", external_ref=f"r{n}",
                description="x" * length,
            )  # fmt: skip


@pytest.mark.parametrize("way", ["title", "metadata of all, title of one"])
def test_description_counts_only_for_tasks_whose_title_changes(fixtures, as_, monkeypatch, way):
    """The search index has one entry for both."""
    write_long_texts(fixtures, 20)
    monkeypatch.setattr(text_size, "MAX_TEXT_BYTES", 20 * 600)
    client = as_(fixtures.bob)
    retitle = {"op": "update", "id": "APO-2", "data": {"title": "new"}}

    if way == "title":
        r = bulk(
            client,
            *({"op": "update", "id": f"APO-{n}", "data": {"title": "new"}} for n in range(2, 22)),
        )
        assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "too_large")
        assert r.json()["errors"][0]["pointer"] == "#/operations/11"
    else:
        others = ({"op": "assign", "id": f"APO-{n}", "data": {"assignee": "me"}}
                  for n in range(3, 22))  # fmt: skip
        assert bulk(client, retitle, *others).status_code == 200


def test_many_changes_of_one_task_count_its_other_texts_once(fixtures, as_, monkeypatch):
    write_long_texts(fixtures, 1)
    monkeypatch.setattr(text_size, "MAX_TEXT_BYTES", 3000)
    titles = ({"op": "update", "id": "APO-2", "data": {"title": f"t{n}"}} for n in range(50))

    assert bulk(as_(fixtures.bob), *titles).status_code == 200


def test_file_that_would_replace_too_much_text_is_refused(fixtures, as_, monkeypatch):
    write_long_texts(fixtures, 20)
    monkeypatch.setattr(text_size, "MAX_TEXT_BYTES", 9_000)
    csv_text = "external_ref,description\n" + "".join(f"r{n},\n" for n in range(20))

    r = as_(fixtures.ada).generic(
        "POST", "/projects/APO/tasks.csv?on_existing=update", csv_text, content_type="text/csv"
    )

    assert (r.status_code, r.json()["code"]) == (422, "too_many"), r.content
    with inside(fixtures.acme):
        assert Task.objects.filter(description="").count() == 1


def test_undo_that_would_write_too_much_text_is_refused(fixtures, as_, monkeypatch):
    write_long_texts(fixtures, 20)
    client = as_(fixtures.ada)
    clear = ({"op": "update", "id": f"APO-{n}", "data": {"description": ""}} for n in range(2, 22))
    cleared = bulk(client, *clear)
    monkeypatch.setattr(text_size, "MAX_TEXT_BYTES", 9_000)

    r = client.post("/undo", {"request_id": cleared["X-Request-Id"]})

    assert (cleared.status_code, r.status_code, r.json()["code"]) == (200, 422, "too_many")
    assert "MiB of text" in r.json()["detail"]


@pytest.mark.parametrize(("length", "saved"), [(60_000, [True, False]), (100, [True])])
def test_rows_whose_long_texts_stay_are_saved_without_them(fixtures, as_, length, saved):
    """Saving the words of a task again would write its entry of the search index again."""
    write_long_texts(fixtures, 3, length)
    operations = [
        {"op": "update", "id": "APO-2", "data": {"title": "new"}},
        *({"op": "update", "id": f"APO-{n}", "data": {"priority": "low"}} for n in (3, 4)),
    ]

    with CaptureQueriesContext(connection) as captured:
        assert bulk(as_(fixtures.bob), *operations).status_code == 200

    updates = [q["sql"] for q in captured.captured_queries if 'UPDATE "tasks_task"' in q["sql"]]
    assert ["title_words" in sql for sql in updates] == saved


# ---- the response ---------------------------------------------------------------------------------


def test_response_contains_each_task_once_in_its_last_successful_result(fixtures, as_):
    client, pk = as_(fixtures.bob), fixtures.task.pk
    operations = [
        {"op": "update", "id": pk, "data": {"description": "x" * 60_000}},
        {"op": "update", "where": {"q": "Launch"}, "data": {"priority": "high"}},
        *({"op": "update", "id": "APO-1", "data": {"title": f"t{n}"}} for n in range(50)),
        {"op": "update", "id": pk, "data": {"due_on": "2026-12-01"}},
        {"op": "update", "id": pk, "data": {"due_date": "2026-12-01T00:00:00Z"}},
        {"op": "create", "data": {"project_id": fixtures.apollo.pk, "title": "new"}},
    ]

    r = bulk(client, *operations, on_error="skip")

    results = r.json()["results"]
    assert [x["index"] for x in results] == list(range(len(operations)))
    assert [x["index"] for x in results if x["task"]] == [52, 54]
    assert {x["id"] for x in results[:54]} == {pk}
    assert results[52]["task"] == client.get(f"/tasks/{pk}").json()
    assert (results[53]["ok"], results[53]["task"]) == (False, None)
    assert len(r.content) < 2 * 60_000


def test_tasks_of_a_response_have_a_bounded_size(fixtures, as_, monkeypatch):
    write_long_texts(fixtures, 20)
    client = as_(fixtures.bob)
    size = len(client.get("/tasks/APO-2").content)
    monkeypatch.setattr(bulk_api, "MAX_TASKS_BYTES", 5 * size + size // 2)
    operations = [{"op": "tag", "id": f"APO-{n}", "data": {"tags": ["x"]}} for n in range(2, 22)]

    body = bulk(client, *operations).json()

    assert (body["succeeded"], body["tasks_left_out"]) == (20, 15)
    assert [bool(x["task"]) for x in body["results"]] == [True] * 5 + [False] * 15
    assert all(x["ok"] and x["id"] for x in body["results"])
    monkeypatch.undo()
    assert bulk(client, *operations).json()["tasks_left_out"] == 0


def test_response_is_valid_json_if_the_last_operation_deletes_the_task(fixtures, as_):
    update = {"op": "update", "id": fixtures.task.pk, "data": {"title": "x"}}

    r = bulk(as_(fixtures.bob), update, {"op": "delete", "id": fixtures.task.pk})

    assert [x["task"] for x in json.loads(r.content)["results"]] == [None, None]
