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


@pytest.fixture
def family(world):
    """A task with two subtasks; the second was deleted before, then the task with the first."""
    with inside(world.acme):
        top = create_task(world.ada, world.apollo, title="top", external_ref="r", tags=["t"])
        kept = create_task(world.ada, world.apollo, title="kept", parent=top)
        before = create_task(world.ada, world.apollo, title="before", parent=top)
        delete_task(world.ada, before)
        delete_task(world.ada, top)
    return top, kept, before


def listed(client, query=""):
    return [(x["kind"], x["id"]) for x in client.get(f"/trash{query}").json()["data"]]


def test_trash_is_listed_latest_deleted_first(world, as_, family):
    top, _kept, before = family

    data = as_(world.bob).get("/trash").json()["data"]

    assert [x["id"] for x in data] == [top.pk, before.pk], "subtasks stand behind their task"
    assert data[0] | {"deleted_at": 0, "purge_after": 0} == {
        "kind": "task",
        "id": top.pk,
        "key": "APO-2",
        "title": "top",
        "project_id": world.apollo.pk,
        "deleted_at": 0,
        "purge_after": 0,
    }


def test_restoring_restores_only_rows_deleted_together(world, as_, events, family):
    top, kept, before = family
    client = as_(world.bob)

    r = client.post(f"/trash/task/{top.pk}/restoration")

    assert (r.status_code, r.json()["title"]) == (200, "top")
    with inside(world.acme):
        assert set(Task.objects.all()) == {world.task, top, kept}
    task = client.get(f"/tasks/{top.pk}").json()
    assert (task["key"], task["version"], [t["name"] for t in task["tags"]]) == ("APO-2", 3, ["t"])
    assert listed(client) == [("task", before.pk)]
    assert [e.subject_id for e in events(world.acme, verb="restored")] == [top.pk, kept.pk]
    assert client.post(f"/trash/task/{top.pk}/restoration").status_code == 404


def test_restoring_a_subtask_of_a_deleted_parent_is_refused(world, as_, family):
    top, _kept, before = family
    client = as_(world.bob)

    r = client.post(f"/trash/task/{before.pk}/restoration")

    assert (r.status_code, r.json()["code"]) == (409, "parent_in_trash")
    assert "APO-2" in r.json()["detail"]
    client.post(f"/trash/task/{top.pk}/restoration")
    assert client.post(f"/trash/task/{before.pk}/restoration").status_code == 200
    assert client.get(f"/tasks/{before.pk}").json()["parent_id"] == top.pk


def test_restored_project_has_its_rows(world, as_, family):
    client = as_(world.ada)
    client.delete("/projects/APO")
    assert listed(client) == [("project", world.apollo.pk)]

    r = client.post(f"/trash/project/{world.apollo.pk}/restoration")

    assert (r.status_code, r.json()["key"], r.json()["title"]) == (200, "APO", "Apollo")
    assert [t["title"] for t in client.get("/tasks").json()["data"]] == ["Launch"]
    assert listed(client) == [("task", family[0].pk), ("task", family[2].pk)]
    assert client.get("/projects/APO").json()["role"] == "owner"


def test_external_ref_in_the_trash_stays_taken(world, as_, family):
    body = {"project_id": world.apollo.pk, "title": "x", "external_ref": "r"}

    r = as_(world.bob).post("/tasks", body)

    assert (r.status_code, "maybe one in the trash" in r.json()["detail"]) == (409, True)


def test_list_is_paged_across_resource_types(world, as_):
    with inside(world.acme):
        for n in range(3):
            delete_project(world.ada, create_project(world.ada, name=f"P{n}"))
            delete_task(world.ada, create_task(world.ada, world.apollo, title=str(n)))
        # at one instant: the cursor tells them apart by kind and id
        same = Project.everything.filter(deleted_at__isnull=False).first().deleted_at
        Project.everything.filter(deleted_at__isnull=False).update(deleted_at=same)
        Task.everything.filter(deleted_at__isnull=False).update(deleted_at=same)
    client = as_(world.ada)
    everything = listed(client)

    found, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/trash?limit=1{cursor and f'&cursor={cursor}'}").json()
        found += [(x["kind"], x["id"]) for x in page["data"]]
        cursor = page["next_cursor"]

    assert (len(everything), found) == (6, everything)
    assert listed(client, "?kind=task") == [x for x in everything if x[0] == "task"]
    assert listed(client, "?skip=4") == everything[4:]
    assert client.get("/trash?include=count").json()["count"] == 6
    for junk in ("x", "W10", "WyJkZWxldGVkX2F0IiwxLCJ0YXNrIiwxXQ"):
        assert client.get(f"/trash?cursor={junk}").status_code == 400


def test_trash_is_invisible_to_non_members(world, as_, family):
    with inside(world.acme):
        delete_project(world.ada, create_project(world.ada, name="Hers"))

    assert listed(as_(world.eve)) == listed(as_(world.mallory)) == []
    assert ("project" in dict(listed(as_(world.bob))), len(listed(as_(world.boss)))) == (False, 3)
    for actor in (world.eve, world.mallory):
        assert as_(actor).post(f"/trash/task/{family[0].pk}/restoration").status_code == 404
        assert as_(actor).delete(f"/trash/task/{family[0].pk}").status_code == 404


def test_only_owners_restore_a_project(world, as_):
    as_(world.ada).delete("/projects/APO")

    for actor in (world.carl, world.bob):
        path = f"/trash/project/{world.apollo.pk}"
        assert as_(actor).post(f"{path}/restoration").status_code == 403
        assert as_(actor).delete(path).status_code == 403


# ---- for good -----------------------------------------------------------------------------------


def test_purged_task_is_deleted_and_its_events_stay(world, as_, events, family):
    top, kept, before = family

    r = as_(world.carl).delete(f"/trash/task/{top.pk}")

    assert r.status_code == 204
    with inside(world.acme):
        assert list(Task.everything.all()) == [world.task]
    gone = events(world.acme, verb="purged")
    assert {e.subject_id for e in gone} == {top.pk, kept.pk, before.pk}
    held = next(e for e in gone if e.subject_id == top.pk).changes
    assert (held["title"], held["external_ref"]) == (["top", None], ["r", None])


def test_row_outside_the_trash_cannot_be_purged(world, as_):
    client = as_(world.ada)

    for kind, pk in (("task", world.task.pk), ("project", world.apollo.pk), ("page", 1)):
        assert client.delete(f"/trash/{kind}/{pk}").status_code == 404
    assert client.delete("/trash/user/1").status_code == 422


def test_purging_a_project_deletes_and_records_its_rows(world, as_, events, family):
    client = as_(world.ada)
    with inside(world.acme):
        other = create_project(world.ada, name="Other")
        waiting = create_task(world.ada, other, title="w", blocked_by=[world.task])
    client.delete("/projects/APO")

    assert client.delete(f"/trash/project/{world.apollo.pk}").status_code == 204

    with inside(world.acme):
        assert list(Task.everything.all()) == [waiting]
        assert list(Project.everything.all()) == [other]
        assert ProjectMember.objects.count() == 1
    gone = events(world.acme, verb="purged")
    assert [e.subject_type for e in gone] == ["task"] * 4 + ["projectmember"] * 4 + ["project"]
    assert client.post("/projects", {"name": "Again", "key": "APO"}).status_code == 201


def test_purge_command_deletes_old_rows(world, as_, events, capsys, family):
    with inside(world.acme):
        young = create_task(world.ada, world.apollo, title="young")
        delete_task(world.ada, young)
        update_task(world.ada, world.task, title="y")
        Task.everything.filter(pk__in=[t.pk for t in family]).update(
            deleted_at=F("deleted_at") - timedelta(days=31)
        )

    call_command("purge")

    with inside(world.acme):
        assert set(Task.everything.all()) == {world.task, young}
    assert {(e.via, e.actor_id) for e in events(world.acme, verb="purged")} == {("command", None)}
    assert "acme: " in capsys.readouterr().out
    call_command("purge", days=0)
    with inside(world.acme):
        assert list(Task.everything.all()) == [world.task]


def test_purge_command_deletes_rows_of_deleted_projects(world, as_, family):
    with inside(world.acme):
        delete_project(world.ada, world.apollo)
        Task.everything.filter(pk=family[0].pk).update(
            deleted_at=F("deleted_at") - timedelta(days=31)
        )

    call_command("purge")

    with inside(world.acme):
        assert list(Task.everything.all()) == [world.task]
        assert Project.everything.get().deleted_at


def test_member_can_restore_a_row_of_a_type_without_author(world, as_, monkeypatch):
    with inside(world.acme):
        comment = create_comment(world.ada, world.task, body="x")
        delete_comment(world.ada, comment)
    path = f"/trash/comment/{comment.pk}/restoration"
    assert as_(world.bob).post(path).status_code == 403, "the author is Ada"
    without_author = replace(type_of_model(Comment), author=None)

    monkeypatch.setitem(resource_types(), "comment", without_author)

    assert as_(world.bob).post(path).status_code == 200
