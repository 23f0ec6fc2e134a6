"""Rows of tasks that exist, and the authors and times that an import keeps."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task, delete_task, move_task
from tasks.models import Task
from tasks.tests.csv_files import created, errors, load
from tasks.tests.factories import MemberFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def bob(fixtures, as_):
    return as_(fixtures.bob)


@pytest.fixture
def stored(fixtures):
    with inside(fixtures.acme):
        return create_task(fixtures.ada, fixtures.apollo, title="old", external_ref="r-1")


def test_rows_of_tasks_that_exist_are_all_refused_by_default(bob, stored):
    text = "key,external_ref,title\nAPO-1,,a\n,r-1,b\n,,c\napo-2,,d\n"

    assert errors(bob, text) == [
        (2, "key", "exists"),
        (3, "external_ref", "exists"),
        (5, "key", "exists"),
    ]


def test_only_row_of_a_task_that_exists_is_refused_by_row_and_column(bob):
    r = load(bob, "key,title\nAPO-1,a\n")

    assert (r.status_code, r.json()["code"]) == (422, "bad_rows")
    assert r.json()["errors"][0]["pointer"] == "#/rows/2/key"


def test_rows_of_tasks_that_exist_change_them(bob, stored):
    r = load(bob, "key,external_ref,title\nAPO-1,,a\n,r-1,b\n,r-2,c\n", on_existing="update")

    assert (r.json()["updated"], r.json()["created"], r.json()["keys"]) == (2, 1, ["APO-3"])
    assert [bob.get(f"/tasks/APO-{n}").json()["title"] for n in (1, 2, 3)] == ["a", "b", "c"]


def test_rows_of_tasks_that_exist_are_skipped_without_reading_their_values(bob, stored):
    r = load(bob, "key,title,status,parent\nAPO-1,,nosuch,\n,new,,APO-1\n", on_existing="skip")

    assert (r.json()["skipped"], r.json()["created"]) == (1, 1), r.content
    assert bob.get("/tasks/APO-1").json()["title"] == "Launch"


def test_task_that_two_rows_mean_is_refused(bob, stored):
    text = "key,external_ref,title\nAPO-2,,a\n,r-1,b\nAPO-1,r-1,c\n"

    assert errors(bob, text, on_existing="update") == [(3, "external_ref", "repeated"),
                                                       (4, "key", "conflict")]  # fmt: skip


def test_task_in_the_trash_or_in_another_project_is_refused(fixtures, bob, stored):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        moved = create_task(fixtures.ada, fixtures.apollo, title="moved")
        MemberFactory(actor=fixtures.ada, project=other, user=fixtures.bob.user)
        move_task(fixtures.ada, moved, other)
        delete_task(fixtures.ada, stored)

    text = "key,external_ref,title\nAPO-2,,a\n,r-1,b\nAPO-3,,c\nAPO-99,,new\n"
    r = load(bob, text, on_existing="update")

    assert [(e["row"], e["detail"].split(".")[0]) for e in r.json()["errors"]] == [
        (2, "APO-2 is in the trash"),
        (3, "APO-2 has this external_ref and is in the trash"),
        (4, "APO-3 was moved and is OTH-1 now"),
    ]
    assert load(bob, "key,title\nOTH-1,copy\n").json()["created"] == 1, "a copy of another project"


def test_file_can_complete_tasks_with_their_subtasks(fixtures, bob, stored):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="sub", parent=stored)
    text = "key,status,priority\nAPO-2,done,high\nAPO-3,done,\n"

    r = load(bob, "key,status\nAPO-2,done\n", on_existing="update")
    assert [(e["row"], e["code"]) for e in r.json()["errors"]] == [(2, "open_subtask")]
    r = load(bob, text.replace("done,\n", "done,low\n"), on_existing="update")
    assert (r.status_code, r.json()["updated"]) == (200, 2), r.content
    assert bob.get("/tasks/APO-2").json()["priority"] == "high"
    r = load(
        bob, "key,status,outcome\nAPO-1,done,Cancelled\n", on_existing="update", dry_run="true"
    )
    assert r.status_code == 200, r.content
    assert (
        load(bob, "key,status\nAPO-1,done\n", on_existing="update", force="true").status_code == 200
    )


# ---- authors and times --------------------------------------------------------------------------

HISTORY = "title,status,created_by,created_at,completed_at\nx,done,@bob,2020-01-02T03:04:05Z,2021-01-01T00:00:00Z\n"


def test_administrator_keeps_author_and_times_and_the_event_says_imported(fixtures, as_, events):
    boss = as_(fixtures.boss)

    task = created(boss, HISTORY)

    assert task["created_by"]["handle"] == "bob"
    assert task["created_at"] == "2020-01-02T03:04:05Z"
    assert task["completed_at"] == "2021-01-01T00:00:00Z"
    event = events(fixtures.acme)[-1]
    assert (event.verb, event.actor_id) == ("imported", fixtures.boss.user.pk)
    assert event.changes["created_at"] == [None, "2020-01-02T03:04:05+00:00"]
    assert event.changes["completed_at"] == [None, "2021-01-01T00:00:00+00:00"]
    history = boss.get(f"/tasks/{task['id']}/events").json()["data"][0]
    assert "imported the task “x”" in history["sentence"]
    r = boss.post("/undo", {"event_ids": [event.pk]})
    assert (r.status_code, boss.get(f"/tasks/{task['id']}").status_code) == (200, 404)


def test_comment_of_an_import_has_its_time_in_the_event(fixtures, as_, events):
    text = "title,comment\nx,2020-01-02T03:04:05Z;@bob;hello\n"

    created(as_(fixtures.boss), text, map={"comment": "comment"})

    event = events(fixtures.acme, subject_type="comment")[-1]
    assert event.changes["created_at"] == [None, "2020-01-02T03:04:05+00:00"]


def test_empty_creator_of_a_new_task_is_the_user_who_imports(fixtures, as_):
    task = created(as_(fixtures.boss), "title,created_by\nx,\n")

    assert task["created_by"]["handle"] == "boss"


def test_task_without_a_creator_comes_back_unchanged(fixtures, as_):
    """Tasks of operators have no creator."""
    boss = as_(fixtures.boss)
    with inside(fixtures.acme):
        Task.objects.update(created_by=None)
    text = boss.get("/projects/APO/tasks.csv").content.decode()

    r = load(boss, text, on_existing="update")

    assert (r.json()["unchanged"], r.json()["left_out"]) == (1, [])
    assert boss.get("/tasks/APO-1").json()["created_by"] is None


def test_member_cannot_ascribe_a_task_to_others(fixtures, as_):
    for client in (as_(fixtures.ada), as_(fixtures.boss, project_ids=[fixtures.apollo.pk])):
        found = errors(client, HISTORY)

        assert [column for _, column, _ in found] == ["created_at", "completed_at", "created_by"]
        assert {code for _, _, code in found} == {"forbidden"}
        ignored = ["created_by", "created_at", "completed_at"]
        assert created(client, HISTORY, ignore=ignored)["created_by"]["handle"] != "bob"


def test_task_that_exists_keeps_its_history_and_the_cells_are_reported(fixtures, as_, stored):
    boss = as_(fixtures.boss)
    text = "key,created_by,created_at\nAPO-2,@bob,2020-01-02T03:04:05Z\n"

    r = load(boss, text, on_existing="update")

    assert (r.json()["unchanged"], r.json()["left_out_count"]) == (1, 2)
    assert boss.get("/tasks/APO-2").json()["created_by"]["handle"] == "ada"


def test_administrator_keeps_the_numbers_of_keys(fixtures, as_):
    boss = as_(fixtures.boss)
    boss.post("/projects", {"name": "Copy", "key": "COPY"})
    text = "key,title,parent\nWEB-7,a,WEB-3\nWEB-3,b,\n,c,\n"

    r = load(boss, text, project="COPY", keep_numbers="true")

    assert r.json()["keys"] == ["COPY-7", "COPY-3", "COPY-8"], r.content
    assert boss.post("/tasks", {"project_id": boss.get("/projects/COPY").json()["id"],
                                "title": "d"}).json()["key"] == "COPY-9"  # fmt: skip
    r = load(boss, "key,title\nWEB-4,x\nWEB-10,y\nAPO-10,z\n", project="COPY", keep_numbers="true")
    assert [(e["row"], e["column"], e["code"]) for e in r.json()["errors"]] == [
        (2, "key", "taken"),
        (4, "key", "repeated"),
    ]
    found = errors(as_(fixtures.ada), "key,title\nWEB-4,x\n", keep_numbers="true")
    assert found == [(2, "key", "forbidden")]


def test_open_task_with_a_time_of_completion_is_refused(fixtures, as_):
    text = "title,status,completed_at\nx,todo,2021-01-01T00:00:00Z\n"

    assert errors(as_(fixtures.boss), text) == [(2, "completed_at", "invalid")]
