"""Exporting the tasks of a project as CSV, and creating tasks from CSV."""

from __future__ import annotations

import csv
import io

import pytest

from taskflow.audit.resource_types import type_of_model
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task, delete_task
from tasks.models import Task

pytestmark = pytest.mark.one_database


def load(client, text, query="", content_type="text/csv", project="APO"):
    path = f"/projects/{project}/tasks.csv{query}"
    return client.generic("POST", path, text, content_type=content_type)


HISTORY_IGNORED = "?ignore=created_by&ignore=created_at&ignore=completed_at"


def result(created=0, **values):
    """The response to an import."""
    counts = dict.fromkeys(("updated", "unchanged", "skipped", "comments", "left_out_count"), 0)
    return {"created": created, **counts, "keys": [], "left_out": []} | values


def lines(client, query="", project="APO"):
    r = client.get(f"/projects/{project}/tasks.csv{query}")
    assert (r.status_code, r.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(r.content.decode())))


def test_csv_contains_every_writable_field(fixtures, as_):
    with inside(fixtures.acme):
        create_task(
            fixtures.ada, fixtures.apollo, title='=SUM("A1")', description="two\nlines, one “cell”",
            assignee=fixtures.bob.user, tags=["b", "A"], parent=fixtures.task, due_on="2026-12-01",
            external_ref="-1", metadata={"a": 1}, priority="high", status="done",
            outcome="cancelled", blocked_by=[fixtures.task],
            links=[{"url": "https://a.example", "title": None}],
        )  # fmt: skip
        delete_task(fixtures.ada, create_task(fixtures.ada, fixtures.apollo, title="gone"))

    first, second = lines(as_(fixtures.bob))

    assert (first["key"], first["assignee"], first["tags"]) == ("APO-1", "ada", "")
    assert second.pop("created_at")
    assert second.pop("completed_at")
    assert second == {
        "key": "APO-2",
        "title": '\'=SUM("A1")',
        "description": "two\nlines, one “cell”",
        "status": "done",
        "outcome": "cancelled",
        "priority": "high",
        "assignee": "bob",
        "tags": "A; b",
        "due_date": "",
        "due_on": "2026-12-01",
        "parent": "APO-1",
        "blocked_by": "APO-1",
        "external_ref": "'-1",
        "links": "https://a.example",
        "metadata": '{"a": 1}',
        "created_by": "ada",
    }
    assert [x["key"] for x in lines(as_(fixtures.bob), "?status_not=done&tag_not=x")] == ["APO-1"]
    assert as_(fixtures.bob).get("/projects/APO/tasks.csv?colour=red").status_code == 422


def test_exported_csv_can_be_imported(fixtures, as_):
    with inside(fixtures.acme):
        create_project(fixtures.ada, name="Copy", key="COPY")
        for n in range(3):
            due = {"due_on": "2026-12-01"} if n else {"due_date": "2026-12-01T08:00:00Z"}
            create_task(
                fixtures.ada, fixtures.apollo, title=f"=t{n}", tags=["x", "y"], metadata={"n": n},
                description="d", assignee=fixtures.ada.user, external_ref=f"r{n}",
                parent=fixtures.task, blocked_by=[fixtures.task], **due,
                status="done" if n else "todo", outcome="cancelled" if n else None,
                links=[{"url": "https://a.example/x,y;z", "title": "=x" if n else None}] * n,
            )  # fmt: skip
    client = as_(fixtures.ada)
    text = client.get("/projects/APO/tasks.csv").content.decode()

    r = load(client, text, HISTORY_IGNORED, project="COPY")

    assert r.json() == result(4, keys=["COPY-1", "COPY-2", "COPY-3", "COPY-4"])
    times = ("created_at", "completed_at")
    given = lambda rows: [  # noqa: E731
        {n: v.replace("COPY-", "APO-") for n, v in row.items() if n not in times} for row in rows
    ]
    assert given(lines(client, project="COPY")) == given(lines(client))
    columns = set(type_of_model(Task).csv_columns)
    assert columns <= {n for row in lines(client) for n, v in row.items() if v}, "give a value"


def test_dry_run_lists_keys_and_creates_nothing(fixtures, as_, events):
    client = as_(fixtures.bob)
    before = len(events(fixtures.acme))

    r = load(client, "title,tags\na,new\nb,\n", "?dry_run=true")

    assert r.json() == result(2, keys=["APO-2", "APO-3"])
    with inside(fixtures.acme):
        assert Task.objects.count() == 1
    assert len(events(fixtures.acme)) == before
    assert load(client, "title\nx\n").json()["keys"] == ["APO-2"], "no number was taken"


def test_invalid_lines_are_listed_and_nothing_is_created(fixtures, as_, events):
    text = (
        "title,status,assignee,due_on,due_date,parent,metadata,external_ref\n"
        "good,todo,@bob,,,,,\n"
        ",todo,,,,,,\n"
        "x,open,,tomorrow,,,,\n"
        "\n"
        'x,,@nobody,,,,,"two\nlines"\n'
        "x,,@eve,,,,,\n"
        "x,,,2026-12-01,2026-12-01T00:00:00Z,,,\n"
        "x,,,,,SEC-1,,\n"
        "x,,,,,,{,\n"
    )
    for query in ("", "?dry_run=true"):
        client = as_(fixtures.bob)
        before = len(events(fixtures.acme))

        r = load(client, text, query)

        assert (r.status_code, r.json()["code"]) == (422, "bad_rows")
        errors = [(e["row"], e["line"], e["column"]) for e in r.json()["errors"]]
        assert errors == [
            (3, 3, "title"),
            (4, 4, "status"),
            (4, 4, "due_on"),
            (6, 6, "assignee"),
            (7, 8, "assignee"),
            (8, 9, "due_on"),
            (9, 10, "parent"),
            (10, 11, "metadata"),
        ]
        assert r.json()["errors"][1]["pointer"] == "#/rows/4/status"
        assert len(events(fixtures.acme)) == before


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "name\nx\n",
        "title,title\nx,y\n",
        "title,colour\nx,red\n",
        "title\nx,y\n",
        'title\n"x\n',
        'title\n"x"y\n',
        b"title\n\xff\n",
        b"title\na\x00b\n",
        "title\n" + "x\n" * 5001,
        "title\n" + "x" * 200_000 + "\n",
        "title," * 100_000 + "\n",
        "title" + ",x" * 100_000 + "\n",
        "title\n" + "x," * 100_000 + "\n",
        "title,title\n",
        "Title, TITLE \nx,y\n",
        "title\n" + '"' * 100_001,
        b"title\n\xed\xa0\x80\n",
    ],
)
def test_file_that_is_not_csv_is_refused(fixtures, as_, text):
    assert load(as_(fixtures.bob), text).status_code == 422


def test_other_content_type_is_refused(fixtures, as_):
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        assert load(as_(fixtures.bob), "title\nx\n", content_type=kind).status_code == 415
    assert load(as_(fixtures.bob), "title\n" + "x" * 4_200_000).status_code == 413
