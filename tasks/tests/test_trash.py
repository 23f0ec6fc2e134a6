"""The trash: deleted rows can be restored for 30 days, or deleted permanently."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models import F

from taskflow.audit.resource_types import resource_types, type_of_model
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, delete_comment
from tasks.actions.projects import create_project, delete_project
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.models import Comment, Project, ProjectMember, Task

pytestmark = pytest.mark.one_database


@pytest.fixture
def family(fixtures):
    """A task with two subtasks; the second was deleted before, then the task with the first."""
    with inside(fixtures.acme):
        top = create_task(fixtures.ada, fixtures.apollo, title="top", external_ref="r", tags=["t"])
        kept = create_task(fixtures.ada, fixtures.apollo, title="kept", parent=top)
        before = create_task(fixtures.ada, fixtures.apollo, title="before", parent=top)
        delete_task(fixtures.ada, before)
        delete_task(fixtures.ada, top)
    return top, kept, before


def listed(client, query=""):
    return [(x["kind"], x["id"]) for x in client.get(f"/trash{query}").json()["data"]]


def test_trash_is_listed_latest_deleted_first(fixtures, as_, family):
    top, _kept, before = family

    data = as_(fixtures.bob).get("/trash").json()["data"]

    assert [x["id"] for x in data] == [top.pk, before.pk], "subtasks stand behind their task"
    assert data[0] | {"deleted_at": 0, "purge_after": 0} == {
        "kind": "task",
        "id": top.pk,
        "key": "APO-2",
        "title": "top",
        "project_id": fixtures.apollo.pk,
        "deleted_at": 0,
        "purge_after": 0,
    }


def test_restoring_restores_only_rows_deleted_together(fixtures, as_, events, family):
    top, kept, before = family
    client = as_(fixtures.bob)

    r = client.post(f"/trash/task/{top.pk}/restoration")

    assert (r.status_code, r.json()["title"]) == (200, "top")
    with inside(fixtures.acme):
        assert set(Task.objects.all()) == {fixtures.task, top, kept}
    task = client.get(f"/tasks/{top.pk}").json()
    assert (task["key"], task["version"], [t["name"] for t in task["tags"]]) == ("APO-2", 3, ["t"])
    assert listed(client) == [("task", before.pk)]
    assert [e.subject_id for e in events(fixtures.acme, verb="restored")] == [top.pk, kept.pk]
    assert client.post(f"/trash/task/{top.pk}/restoration").status_code == 404


def test_restoring_a_subtask_of_a_deleted_parent_is_refused(fixtures, as_, family):
    top, _kept, before = family
    client = as_(fixtures.bob)

    r = client.post(f"/trash/task/{before.pk}/restoration")

    assert (r.status_code, r.json()["code"]) == (409, "parent_in_trash")
    assert "APO-2" in r.json()["detail"]
    client.post(f"/trash/task/{top.pk}/restoration")
    assert client.post(f"/trash/task/{before.pk}/restoration").status_code == 200
    assert client.get(f"/tasks/{before.pk}").json()["parent_id"] == top.pk


def test_restored_project_has_its_rows(fixtures, as_, family):
    client = as_(fixtures.ada)
    client.delete("/projects/APO")
    assert listed(client) == [("project", fixtures.apollo.pk)]

    r = client.post(f"/trash/project/{fixtures.apollo.pk}/restoration")

    assert (r.status_code, r.json()["key"], r.json()["title"]) == (200, "APO", "Apollo")
    assert [t["title"] for t in client.get("/tasks").json()["data"]] == ["Launch"]
    assert listed(client) == [("task", family[0].pk), ("task", family[2].pk)]
    assert client.get("/projects/APO").json()["role"] == "owner"


def test_external_ref_in_the_trash_stays_taken(fixtures, as_, family):
    body = {"project_id": fixtures.apollo.pk, "title": "x", "external_ref": "r"}

    r = as_(fixtures.bob).post("/tasks", body)

    assert (r.status_code, "maybe one in the trash" in r.json()["detail"]) == (409, True)


def test_list_is_paged_across_resource_types(fixtures, as_):
    with inside(fixtures.acme):
        for n in range(3):
            delete_project(fixtures.ada, create_project(fixtures.ada, name=f"P{n}"))
            delete_task(fixtures.ada, create_task(fixtures.ada, fixtures.apollo, title=str(n)))
        # at one instant: the cursor tells them apart by kind and id
        same = Project.everything.filter(deleted_at__isnull=False).first().deleted_at
        Project.everything.filter(deleted_at__isnull=False).update(deleted_at=same)
        Task.everything.filter(deleted_at__isnull=False).update(deleted_at=same)
    client = as_(fixtures.ada)
    everything = listed(client)

    paged, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/trash?limit=1{cursor and f'&cursor={cursor}'}").json()
        paged += [(x["kind"], x["id"]) for x in page["data"]]
        cursor = page["next_cursor"]

    assert (len(everything), paged) == (6, everything)
    assert listed(client, "?kind=task") == [x for x in everything if x[0] == "task"]
    assert listed(client, "?skip=4") == everything[4:]
    assert client.get("/trash?include=count").json()["count"] == 6
    for junk in ("x", "W10", "WyJkZWxldGVkX2F0IiwxLCJ0YXNrIiwxXQ"):
        assert client.get(f"/trash?cursor={junk}").status_code == 400


def test_trash_is_invisible_to_non_members(fixtures, as_, family):
    with inside(fixtures.acme):
        delete_project(fixtures.ada, create_project(fixtures.ada, name="Second"))

    assert listed(as_(fixtures.eve)) == listed(as_(fixtures.mallory)) == []
    assert ("project" in dict(listed(as_(fixtures.bob))), len(listed(as_(fixtures.boss)))) == (
        False,
        3,
    )
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).post(f"/trash/task/{family[0].pk}/restoration").status_code == 404
        assert as_(actor).delete(f"/trash/task/{family[0].pk}").status_code == 404


def test_only_owners_restore_a_project(fixtures, as_):
    as_(fixtures.ada).delete("/projects/APO")

    for actor in (fixtures.carl, fixtures.bob):
        path = f"/trash/project/{fixtures.apollo.pk}"
        assert as_(actor).post(f"{path}/restoration").status_code == 403
        assert as_(actor).delete(path).status_code == 403


# ---- for good -----------------------------------------------------------------------------------


def test_purged_task_is_deleted_and_its_events_stay(fixtures, as_, events, family):
    top, kept, before = family

    r = as_(fixtures.carl).delete(f"/trash/task/{top.pk}")

    assert r.status_code == 204
    with inside(fixtures.acme):
        assert list(Task.everything.all()) == [fixtures.task]
    gone = events(fixtures.acme, verb="purged")
    assert {e.subject_id for e in gone} == {top.pk, kept.pk, before.pk}
    held = next(e for e in gone if e.subject_id == top.pk).changes
    assert (held["title"], held["external_ref"]) == (["top", None], ["r", None])


def test_row_outside_the_trash_cannot_be_purged(fixtures, as_):
    client = as_(fixtures.ada)

    for kind, pk in (("task", fixtures.task.pk), ("project", fixtures.apollo.pk), ("page", 1)):
        assert client.delete(f"/trash/{kind}/{pk}").status_code == 404
    assert client.delete("/trash/user/1").status_code == 422


def test_purging_a_project_deletes_and_records_its_rows(fixtures, as_, events, family):
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other")
        waiting = create_task(fixtures.ada, other, title="w", blocked_by=[fixtures.task])
    client.delete("/projects/APO")

    assert client.delete(f"/trash/project/{fixtures.apollo.pk}").status_code == 204

    with inside(fixtures.acme):
        assert list(Task.everything.all()) == [waiting]
        assert list(Project.everything.all()) == [other]
        assert ProjectMember.objects.count() == 1
    gone = events(fixtures.acme, verb="purged")
    assert [e.subject_type for e in gone] == ["task"] * 4 + ["projectmember"] * 4 + ["project"]
    assert client.post("/projects", {"name": "Again", "key": "APO"}).status_code == 409


def test_purge_command_deletes_old_rows(fixtures, as_, events, capsys, family):
    with inside(fixtures.acme):
        young = create_task(fixtures.ada, fixtures.apollo, title="young")
        delete_task(fixtures.ada, young)
        update_task(fixtures.ada, fixtures.task, title="y")
        Task.everything.filter(pk__in=[t.pk for t in family]).update(
            deleted_at=F("deleted_at") - timedelta(days=31)
        )

    call_command("purge")

    with inside(fixtures.acme):
        assert set(Task.everything.all()) == {fixtures.task, young}
    assert {(e.via, e.actor_id) for e in events(fixtures.acme, verb="purged")} == {
        ("command", None)
    }
    assert "acme: " in capsys.readouterr().out
    call_command("purge", days=0)
    with inside(fixtures.acme):
        assert list(Task.everything.all()) == [fixtures.task]


def test_purge_command_deletes_rows_of_deleted_projects(fixtures, as_, family):
    with inside(fixtures.acme):
        delete_project(fixtures.ada, fixtures.apollo)
        Task.everything.filter(pk=family[0].pk).update(
            deleted_at=F("deleted_at") - timedelta(days=31)
        )

    call_command("purge")

    with inside(fixtures.acme):
        assert list(Task.everything.all()) == [fixtures.task]
        assert Project.everything.get().deleted_at


def test_member_can_restore_a_row_of_a_type_without_author(fixtures, as_, monkeypatch):
    with inside(fixtures.acme):
        comment = create_comment(fixtures.ada, fixtures.task, body="x")
        delete_comment(fixtures.ada, comment)
    path = f"/trash/comment/{comment.pk}/restoration"
    assert as_(fixtures.bob).post(path).status_code == 403, "the author is Ada"
    without_author = replace(type_of_model(Comment), author=None)

    monkeypatch.setitem(resource_types(), "comment", without_author)

    assert as_(fixtures.bob).post(path).status_code == 200


@pytest.fixture
def deleted_before(fixtures, as_):
    """A task, a page and a comment of Ada, each deleted before their project. Ids by kind."""
    client = as_(fixtures.ada)
    in_project = {"project_id": fixtures.apollo.pk, "title": "x"}
    ids = {
        "task": client.post("/tasks", in_project).json()["id"],
        "page": client.post("/pages", in_project).json()["id"],
        "comment": client.post("/comments", {"task_id": fixtures.task.pk, "body": "x"}).json()[
            "id"
        ],
    }
    for kind, pk in ids.items():
        client.delete(f"/{kind}s/{pk}")
    return ids


@pytest.mark.parametrize("kind", ["task", "page", "comment"])
def test_restoring_into_a_project_in_the_trash_is_refused(fixtures, as_, deleted_before, kind):
    client, path = as_(fixtures.ada), f"/trash/{kind}/{deleted_before[kind]}/restoration"
    client.delete("/projects/APO")

    r = client.post(path)

    assert (r.status_code, r.json()["code"]) == (409, "in_trash")
    assert r.json()["detail"].startswith("The project that it belongs to, APO, is in the trash.")
    way_out = f"/trash/project/{fixtures.apollo.pk}/restoration"
    assert r.json()["detail"].endswith(f"with POST /api/v1{way_out}.")
    assert client.post(way_out).status_code == 200
    assert client.post(path).status_code == 200


def test_restoring_a_comment_of_a_task_in_the_trash_is_refused(fixtures, as_, deleted_before):
    client = as_(fixtures.ada)
    client.delete("/tasks/APO-1")

    r = client.post(f"/trash/comment/{deleted_before['comment']}/restoration")

    assert (r.status_code, r.json()["code"]) == (409, "in_trash")
    assert r.json()["detail"].startswith("The task that it belongs to, APO-1, is in the trash.")


def test_rows_in_a_project_in_the_trash_are_not_found_by_others(fixtures, as_, deleted_before):
    as_(fixtures.ada).delete("/projects/APO")

    for user in (fixtures.eve, fixtures.mallory):
        for kind, pk in deleted_before.items():
            assert as_(user).post(f"/trash/{kind}/{pk}/restoration").status_code == 404
    draft = f"/trash/page/{deleted_before['page']}/restoration"
    assert as_(fixtures.bob).post(draft).status_code == 404, "a draft of another user"
