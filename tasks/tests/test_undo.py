"""Undo: the selected changes are reversed; later changes of other users are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.actions.users import update_user
from accounts.models import ApiToken, User
from taskflow.audit.models import Event, Via
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project, delete_project
from tasks.actions.trash import purge
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.models import Project, ProjectMember, Role, Tag, Task
from tasks.tests.test_undo_everything import snapshot

pytestmark = pytest.mark.one_database

HIDDEN = {"version", "updated_at", "commented_at", "last_activity_at"}


@pytest.fixture
def r1():
    return {"X-Request-Id": "r-1"}


def undo(client, request_id="r-1", *, dry_run=False, **body):
    if not body.keys() & {"event_ids", "since"}:
        body["request_id"] = request_id
    return client.post(f"/undo{'?dry_run=true' * dry_run}", body)


def shown(client, path="/tasks/APO-1"):
    return {k: v for k, v in client.get(path).json().items() if k not in HIDDEN}


# ---- every verb, and back -----------------------------------------------------------------------

VERBS = {
    "patch": ("patch", "/tasks/APO-1", {"title": "New", "due_on": "2027-01-01", "metadata": {"a": 1}, "assignee_id": None}),
    "complete": ("post", "/tasks/APO-1/completion?force=true", None),
    "assign": ("post", "/tasks/APO-1/assignment", {"assignee_id": "{bob}"}),
    "unassign": ("delete", "/tasks/APO-1/assignment", None),
    "tags": ("patch", "/tasks/APO-1", {"tags": ["a", "old"]}),
    "blockers": ("patch", "/tasks/APO-1", {"blocked_by": ["{other}"]}),
    "parent": ("patch", "/tasks/APO-1", {"parent_id": "{other}"}),
    "move": ("post", "/tasks/APO-1/move", {"project_id": "{zeus}"}),
    "delete": ("delete", "/tasks/APO-1", None),
    "project": ("patch", "/projects/APO", {"name": "New", "owner_id": "{bob}"}),
    "delete project": ("delete", "/projects/APO", None),
    "complete project": ("post", "/projects/APO/completion", None),
    "role": ("patch", "/members/{member}", {"role": "owner"}),
    "remove member": ("delete", "/members/{member}", None),
    "add member": ("post", "/projects/APO/members", {"user_id": "{eve}"}),
    "rename tag": ("patch", "/tags/{tag}", {"name": "renamed", "color": "#123456"}),
    "delete tag": ("delete", "/tags/{tag}", None),
    "make tag": ("post", "/tags", {"name": "fresh"}),
    "make task": ("post", "/tasks", {"project_id": "{apollo}", "title": "x", "tags": ["y"]}),
    "make project": ("post", "/projects", {"name": "Fresh", "tasks": [{"title": "a", "subtasks": [{"title": "b"}]}]}),
    "upsert": ("put", "/projects/APO/tasks/by-ref/r", {"title": "x"}),
    "comment": ("post", "/comments", {"task_id": "{task}", "body": "c"}),
    "edit comment": ("patch", "/comments/{comment}", {"body": "other"}),
    "delete comment": ("delete", "/comments/{comment}", None),
    "page": ("post", "/pages", {"project_id": "{apollo}", "title": "p", "is_published": True}),
    "edit page": ("patch", "/pages/{page}", {"title": "q", "owner_id": "{bob}"}),
    "publish": ("post", "/pages/{page}/publication", None),
    "delete page": ("delete", "/pages/{page}", None),
    "tenant": ("patch", "/tenant", {"name": "New", "time_zone": "Europe/Rome"}),
    "user": ("patch", "/users/{eve}", {"full_name": "New", "is_active": False}),
    "make user": ("post", "/users", {"kind": "agent", "handle": "robot"}),
    "offboard": ("post", "/users/{bob}/offboarding", {"hand_over_to": "{eve}"}),
    "restore": ("post", "/trash/task/{gone}/restoration", None),
    "sheet": ("csv", "/projects/APO/tasks.csv", "title,tags\na,one\nb,two\n"),
    "bulk": ("post", "/tasks/bulk", {"operations": [
        {"op": "create", "data": {"project_id": "{apollo}", "title": "n", "tags": ["m"]}},
        {"op": "update", "id": "{task}", "data": {"title": "N", "tags": ["z"], "blocked_by": []}},
        {"op": "complete", "id": "{other}", "force": True},
        {"op": "move", "id": "{child}", "data": {"project_id": "{zeus}"}},
        {"op": "delete", "id": "{task}"},
    ]}),
}  # fmt: skip


@pytest.fixture
def ids(fixtures, as_):
    with inside(fixtures.acme):
        zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")
        add_member(fixtures.ada, zeus, user=fixtures.bob.user)
        other = create_task(fixtures.ada, fixtures.apollo, title="other")
        child = create_task(fixtures.bob, fixtures.apollo, title="child", parent=other)
        gone = create_task(fixtures.ada, fixtures.apollo, title="gone", tags=["old"])
        delete_task(fixtures.ada, gone)
        update_task(fixtures.ada, fixtures.task, tags=["old"], blocked_by=[child])
        tag = Tag.objects.get(name="old")
        member = ProjectMember.objects.get(user=fixtures.bob.user, project=fixtures.apollo)
    client = as_(fixtures.boss)
    comment = client.post("/comments", {"task_id": fixtures.task.pk, "body": "b"}).json()["id"]
    page = {"project_id": fixtures.apollo.pk, "title": "p", "owner_id": fixtures.ada.user.pk}
    return {
        "task": fixtures.task.pk,
        "other": other.pk,
        "child": child.pk,
        "gone": gone.pk,
        "apollo": fixtures.apollo.pk,
        "zeus": zeus.pk,
        "bob": fixtures.bob.user.pk,
        "eve": fixtures.eve.user.pk,
        "member": member.pk,
        "tag": tag.pk,
        "comment": comment,
        "page": client.post("/pages", page).json()["id"],
    }


def filled(value, ids):
    if isinstance(value, dict):
        return {k: filled(v, ids) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, ids) for v in value]
    return ids[value.strip("{}")] if isinstance(value, str) and value.startswith("{") else value


def run(client, verb, ids, headers):
    method, path, body = VERBS[verb]
    path = path.format(**ids)
    if method == "csv":
        return client.post(path, body, content_type="text/csv", headers=headers)
    body = filled(body, ids)
    return getattr(client, method)(path, headers=headers) if body is None else getattr(client, method)(path, body, headers=headers)  # fmt: skip


@pytest.mark.sampled(2)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.slow
def test_each_verb_can_be_undone_and_the_undo_undone(fixtures, as_, ids, r1, verb):
    client = as_(fixtures.boss)
    before = snapshot(fixtures.acme)
    assert run(client, verb, ids, r1).status_code < 300
    after = snapshot(fixtures.acme)
    assert after != before

    back = client.post("/undo", {"request_id": "r-1"}, headers={"X-Request-Id": "r-2"})
    assert back.status_code == 200, back.content
    assert snapshot(fixtures.acme) == before

    forth = client.post("/undo", {"request_id": "r-2"}, headers={"X-Request-Id": "r-3"})
    assert forth.status_code == 200, forth.content
    assert snapshot(fixtures.acme) == after

    again = undo(client, "r-3")
    assert again.status_code == 200, again.content
    assert snapshot(fixtures.acme) == before


@pytest.mark.sampled(2)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.slow
def test_plan_returns_what_the_undo_then_does(fixtures, as_, ids, r1, verb):
    client = as_(fixtures.boss)
    run(client, verb, ids, r1)
    before = snapshot(fixtures.acme)

    plan = client.plan("post", "/undo", {"request_id": "r-1"})
    assert snapshot(fixtures.acme) == before
    done = undo(client).json()

    with inside(fixtures.acme):
        recorded = Event.objects.filter(request_id=done["request_id"]).order_by("pk")
        happened = [(f"{e.subject_type}.{e.verb}", e.subject_id) for e in recorded]
    assert [(e["verb"], e["subject"]["id"]) for e in plan["events"]] == happened
    assert plan["result"]["undone"] == done["undone"]
    assert happened


def test_plan_with_skip_returns_what_the_undo_then_does(fixtures, as_, r1):
    """Attempts that were rolled back are not in the response."""
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    body = {"project_id": fixtures.apollo.pk, "title": "x"}
    made = [ada.post("/tasks", body, headers=r1).json()["id"] for _ in range(2)]
    ada.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    bob.post("/comments", {"task_id": made[0], "body": "c"})

    plan = ada.plan("post", "/undo", {"request_id": "r-1", "on_conflict": "skip"})
    undo(ada, on_conflict="skip")

    happened = [(e["verb"], e["subject"]["id"]) for e in plan["events"]]
    assert happened == [("task.changed", fixtures.task.pk), ("task.deleted", made[1])]


def test_response_lists_the_undone_events(fixtures, as_, r1):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"priority": "high"}, headers=r1)

    done = undo(client).json()

    last = client.get("/tasks/APO-1/events").json()["data"][0]
    assert last["sentence"] == "Ada (@ada) changed the task: priority from high to medium (undo)"
    assert last["undoes"] == done["undone"]
    assert (last["request_id"], done["left_out"]) == (done["request_id"], [])


# ---- what others have changed since -------------------------------------------------------------


def test_changes_of_other_users_since_are_listed_in_the_refusal(fixtures, as_, ids, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    body = {"operations": [
        {"op": "update", "id": ids["task"], "data": {"title": "A", "priority": "high"}},
        {"op": "update", "id": ids["other"], "data": {"title": "B"}},
        {"op": "update", "id": ids["child"], "data": {"title": "C"}},
    ]}  # fmt: skip
    ada.post("/tasks/bulk", body, headers=r1)
    bob.patch(f"/tasks/{ids['task']}", {"title": "Bob's"})
    bob.patch(f"/tasks/{ids['child']}", {"title": "Bob's too"})

    r = undo(ada)

    problem = r.json()
    assert (r.status_code, problem["code"]) == (409, "cannot_undo")
    named = [(e["subject"]["id"], e["field"], e["detail"]) for e in problem["errors"]]
    assert sorted(named) == sorted(
        (ids[name], "title", "Bob (@bob) has changed title since.") for name in ("task", "child")
    )
    assert shown(ada, f"/tasks/{ids['other']}")["title"] == "B"


def test_changes_of_other_users_since_are_kept_with_skip(fixtures, as_, ids, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    ada.patch("/tasks/APO-1", {"title": "A", "priority": "high"}, headers=r1)
    bob.patch("/tasks/APO-1", {"title": "Bob's"})

    done = undo(ada, request_id="r-1", on_conflict="skip").json()

    task = shown(ada)
    assert (task["title"], task["priority"]) == ("Bob's", "medium")
    assert [(e["field"], e["code"]) for e in done["left_out"]] == [("title", "changed_since")]


def test_value_that_was_changed_back_is_no_obstacle(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    ada.patch("/tasks/APO-1", {"title": "Launch"})

    assert undo(ada).json()["undone"] == []


def test_undo_keeps_links_added_by_other_users(fixtures, as_, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    ada.patch("/tasks/APO-1", {"tags": ["a", "b"]}, headers=r1)
    bob.patch("/tasks/APO-1", {"tags": ["a", "b", "c"]})

    done = undo(ada, request_id="r-1", on_conflict="skip")

    assert done.status_code == 200, done.content
    assert [t["name"] for t in shown(ada)["tags"]] == ["c"]


def test_changes_before_and_after_another_users_change_are_undone_as_far_as_possible(fixtures, as_):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    start = timezone.now().isoformat()
    ada.patch("/tasks/APO-1", {"title": "1"})
    bob.patch("/tasks/APO-1", {"title": "2"})
    ada.patch("/tasks/APO-1", {"title": "3"})

    assert undo(ada, actor="me", since=start).status_code == 409
    done = undo(ada, actor="me", since=start, on_conflict="skip").json()

    assert shown(ada)["title"] == "2"
    assert len(done["left_out"]) == 1


def test_undone_change_of_another_user_is_no_obstacle(fixtures, as_, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    ada.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    bob.patch("/tasks/APO-1", {"title": "B"}, headers={"X-Request-Id": "r-2"})
    undo(bob, "r-2")

    assert undo(ada).status_code == 200
    assert shown(ada)["title"] == "Launch"


def test_value_changed_and_changed_back_by_another_request_is_no_obstacle(fixtures, as_, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    ada.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    operations = [{"op": "update", "id": "APO-1", "data": {"title": title}} for title in ("B", "A")]
    bob.post("/tasks/bulk", {"operations": operations})

    assert undo(ada).status_code == 200
    assert shown(ada)["title"] == "Launch"


def test_skipped_field_can_be_undone_later(fixtures, as_, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    ada.patch("/tasks/APO-1", {"title": "A", "priority": "high"}, headers=r1)
    bob.patch("/tasks/APO-1", {"title": "B"}, headers={"X-Request-Id": "r-2"})
    undo(ada, on_conflict="skip")
    undo(bob, "r-2")

    assert undo(ada).status_code == 200
    assert (shown(ada)["title"], shown(ada)["priority"]) == ("Launch", "medium")


def test_undoing_twice_changes_nothing(fixtures, as_, events, r1):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    undo(ada)
    before = len(events(fixtures.acme))

    again = undo(ada)

    assert (again.status_code, again.json()["undone"]) == (200, [])
    assert len(events(fixtures.acme)) == before


@pytest.mark.parametrize("what", ["edit", "comment", "subtask"])
def test_created_row_with_rows_of_other_users_stays(fixtures, as_, r1, what):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    task = ada.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x"}, headers=r1).json()
    if what == "edit":
        bob.patch(f"/tasks/{task['id']}", {"priority": "high"})
    elif what == "comment":
        bob.post("/comments", {"task_id": task["id"], "body": "c"})
    else:
        body = {"project_id": fixtures.apollo.pk, "title": "s", "parent_id": task["id"]}
        bob.post("/tasks", body)

    r = undo(ada)
    skipped = undo(ada, request_id="r-1", on_conflict="skip")

    assert (r.status_code, r.json()["errors"][0]["subject"]["id"]) == (409, task["id"])
    assert (skipped.status_code, skipped.json()["undone"]) == (200, [])
    assert ada.get(f"/tasks/{task['id']}").status_code == 200


def test_created_project_with_rows_of_other_users_stays(fixtures, as_, r1):
    boss, ada = as_(fixtures.boss), as_(fixtures.ada)
    project = ada.post("/projects", {"name": "P"}, headers=r1).json()["id"]
    boss.post("/tasks", {"project_id": project, "title": "x"})

    assert undo(ada).json()["errors"][0]["code"] == "in_use"


def test_created_tag_that_other_users_use_stays(fixtures, as_, r1):
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    ada.post("/tags", {"name": "t"}, headers=r1)
    bob.patch("/tasks/APO-1", {"tags": ["t"]})

    assert undo(ada).json()["errors"][0]["code"] == "in_use"


# ---- what would not be right --------------------------------------------------------------------


def refused(client, **body):
    r = undo(client, **body)
    assert r.status_code == 409, r.content
    before = client.get("/tasks").json()
    assert undo(client, on_conflict="skip", **body).status_code == 200
    assert client.get("/tasks").json() == before
    return r.json()["errors"][0]["code"]


def test_undo_that_would_close_a_circle_of_parents_is_refused(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.patch(f"/tasks/{ids['child']}", {"parent_id": None}, headers=r1)
    ada.patch(f"/tasks/{ids['other']}", {"parent_id": ids["child"]})

    assert refused(ada) == "cycle"


def test_undo_that_would_close_a_circle_of_blockers_is_refused(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"blocked_by": []}, headers=r1)
    ada.patch(f"/tasks/{ids['child']}", {"blocked_by": [ids["task"]]})

    assert refused(ada) == "cycle"


def test_undo_that_would_nest_too_deeply_is_refused(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.patch(f"/tasks/{ids['child']}", {"parent_id": None}, headers=r1)
    above, below = ids["other"], ids["child"]
    with inside(fixtures.acme):
        for n in range(2):
            one = create_task(fixtures.ada, fixtures.apollo, title=f"up{n}")
            update_task(fixtures.ada, Task.objects.get(pk=above), parent=one)
            above = one.pk
            below = create_task(
                fixtures.ada, fixtures.apollo, title="down", parent=Task.objects.get(pk=below)
            ).pk

    assert refused(ada) == "too_deep"


def test_undo_to_a_parent_in_the_trash_is_refused(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.patch(f"/tasks/{ids['child']}", {"parent_id": None}, headers=r1)
    ada.delete(f"/tasks/{ids['other']}")

    assert refused(ada) == "parent_in_trash"


def test_undo_to_an_assignee_who_left_is_refused(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"assignee_id": ids["bob"]})
    ada.patch("/tasks/APO-1", {"assignee_id": None}, headers=r1)
    ada.delete(f"/members/{ids['member']}")

    assert refused(ada) == "no_member"


def test_assignee_who_had_left_before_the_change_is_no_obstacle(fixtures, as_, ids, r1):
    """The undo restores a state that existed before."""
    boss = as_(fixtures.boss)
    boss.patch("/tasks/APO-1", {"assignee_id": ids["bob"]})
    boss.patch(f"/users/{ids['bob']}", {"is_active": False})
    boss.post("/tasks/APO-1/assignment", {"assignee_id": fixtures.ada.user.pk}, headers=r1)

    assert undo(boss).status_code == 200
    assert shown(boss)["assignee"]["id"] == ids["bob"]


def test_undo_that_would_set_both_due_fields_is_refused(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"due_on": "2027-01-01"})
    ada.patch("/tasks/APO-1", {"due_on": None}, headers=r1)
    ada.patch("/tasks/APO-1", {"due_date": "2027-01-01T00:00:00Z"})

    assert refused(ada) == "due_twice"


def test_row_in_the_trash_is_undone_there(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    ada.delete("/tasks/APO-1")

    assert undo(ada).status_code == 200
    assert ada.get("/trash").json()["data"][0]["title"] == "Launch"


@pytest.mark.slow
def test_undoing_a_move_from_a_project_in_the_trash_is_refused(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.post("/tasks/APO-1/move", {"project_id": ids["zeus"]}, headers=r1)
    ada.delete("/projects/APO")

    assert refused(ada) == "in_trash"


@pytest.mark.slow
def test_undoing_a_move_to_a_project_in_the_trash_is_refused(fixtures, as_, ids, r1):
    """Such an undo could not be undone."""
    ada = as_(fixtures.ada)
    ada.post("/tasks/APO-1/move", {"project_id": ids["zeus"]}, headers=r1)
    ada.delete("/projects/ZEU", headers={"X-Request-Id": "r-2"})

    assert refused(ada) == "in_trash"
    undo(ada, "r-2")
    assert undo(ada).status_code == 200


def test_restored_tag_does_not_restore_an_undone_link(fixtures, as_, ids):
    boss = as_(fixtures.boss)
    before = snapshot(fixtures.acme)
    start = timezone.now().isoformat()
    boss.patch(f"/tasks/{ids['other']}", {"tags": ["old"]})
    boss.delete(f"/tags/{ids['tag']}")

    assert undo(boss, actor="me", since=start).status_code == 200
    assert snapshot(fixtures.acme) == before


def test_link_deleted_with_its_tag_is_no_change_of_the_task(fixtures, as_, r1):
    """Undoing the creation of the tag deletes its links, without events of the tasks."""
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    task = ada.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x"}, headers=r1).json()
    bob.patch(f"/tasks/{task['id']}", {"tags": ["new"]}, headers={"X-Request-Id": "r-2"})
    undo(bob, "r-2")

    assert undo(ada).status_code == 200
    assert ada.get(f"/tasks/{task['id']}").status_code == 404


def test_former_name_is_restored_if_it_is_free(fixtures, as_):
    boss = as_(fixtures.boss)
    tags = [boss.post("/tags", {"name": n}).json()["id"] for n in ("a", "b")]
    start = timezone.now().isoformat()
    boss.patch(f"/tags/{tags[0]}", {"name": "c"})
    boss.patch(f"/tags/{tags[1]}", {"name": "A"})

    assert undo(boss, actor="me", since=start).status_code == 200
    assert [(t["id"], t["name"]) for t in boss.get("/tags").json()["data"]] == [
        (tags[0], "a"), (tags[1], "b"),
    ]  # fmt: skip


def test_names_passed_between_rows_are_restored(fixtures, as_, r1):
    """Each row gets the name that the other row still has."""
    boss = as_(fixtures.boss)
    tags = [boss.post("/tags", {"name": n}).json()["id"] for n in ("a", "b")]
    start = timezone.now().isoformat()
    boss.patch(f"/tags/{tags[0]}", {"name": "c"})
    boss.patch(f"/tags/{tags[1]}", {"name": "A"})
    boss.delete(f"/tags/{tags[0]}")
    boss.post("/tags", {"name": "c"})

    assert undo(boss, actor="me", since=start).status_code == 200
    assert [t["name"] for t in boss.get("/tags").json()["data"]] == ["a", "b"]


def test_undo_that_would_remove_the_last_owner_is_refused(fixtures, as_, r1):
    boss, ada = as_(fixtures.boss), as_(fixtures.ada)
    with inside(fixtures.acme):
        member = ProjectMember.objects.get(user=fixtures.bob.user)
        first = ProjectMember.objects.get(user=fixtures.ada.user)
    boss.patch(f"/members/{member.pk}", {"role": "owner"}, headers=r1)
    assert ada.patch(f"/members/{first.pk}", {"role": "member"}).status_code == 200

    assert refused(boss) == "no_owner"


def test_undo_that_would_remove_the_last_administrator_is_refused(fixtures, as_, r1):
    boss = as_(fixtures.boss)
    boss.patch(f"/users/{fixtures.eve.user.pk}", {"is_staff": True}, headers=r1)
    eve = as_(fixtures.eve)
    assert eve.patch(f"/users/{fixtures.boss.user.pk}", {"is_staff": False}).status_code == 200

    assert refused(eve, actor="@boss") == "no_administrator"


def test_undo_to_a_taken_name_is_a_conflict(fixtures, as_, r1):
    boss = as_(fixtures.boss)
    tag = boss.post("/tags", {"name": "t"}).json()["id"]
    boss.patch(f"/tags/{tag}", {"name": "u"}, headers=r1)
    boss.post("/tags", {"name": "T"})

    r = undo(boss)

    assert (r.status_code, r.json()["code"]) == (409, "taken")


def test_permanently_deleted_row_is_not_restored(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    ada.delete("/tasks/APO-1", headers=r1)
    with inside(fixtures.acme):
        purge(fixtures.ada, Task.everything.get(pk=fixtures.task.pk))

    r = undo(ada)

    assert (r.status_code, r.json()["errors"][0]["code"]) == (409, "gone")


def test_undoing_a_purge_is_refused(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    ada.delete("/tasks/APO-1")
    ada.delete(f"/trash/task/{fixtures.task.pk}", headers=r1)

    r = undo(ada)

    assert (r.status_code, r.json()["errors"][0]["code"]) == (409, "purged")


def test_permanently_deleted_target_is_named(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    ada.patch(f"/tasks/{ids['child']}", {"parent_id": None}, headers=r1)
    with inside(fixtures.acme):
        other = Task.objects.get(pk=ids["other"])
        delete_task(fixtures.ada, other)
        purge(fixtures.ada, Task.everything.get(pk=other.pk))

    r = undo(ada)

    assert (r.status_code, r.json()["errors"][0]["code"]) == (409, "target_gone")


# ---- secrets ------------------------------------------------------------------------------------


def test_revoked_tokens_stay_revoked_and_created_ones_are_revoked(fixtures, as_, r1):
    boss = as_(fixtures.boss)
    kept = boss.post("/tokens", {"name": "old"}).json()["id"]
    boss.delete(f"/tokens/{kept}", headers=r1)
    made = boss.post("/tokens", {"name": "new"}, headers={"X-Request-Id": "r-2"}).json()["id"]

    left = undo(boss).json()
    undo(boss, "r-2")

    with inside(fixtures.acme):
        assert ApiToken.objects.get(pk=kept).revoked_at is not None
        assert ApiToken.objects.get(pk=made).revoked_at is not None
    assert [e["code"] for e in left["left_out"]] == ["not_undoable"]


def test_passwords_are_not_restored(fixtures, as_, r1):
    boss = as_(fixtures.boss)
    with inside(fixtures.acme):
        actor = replace(fixtures.boss, request_id=r1["X-Request-Id"], via=Via.COMMAND)
        eve = User.objects.get(pk=fixtures.eve.user.pk)
        update_user(actor, eve, password="winter tulips 4711", full_name="New")
        stored = User.objects.get(pk=fixtures.eve.user.pk).password

    done = undo(boss).json()

    with inside(fixtures.acme):
        eve = User.objects.get(pk=fixtures.eve.user.pk)
    assert (eve.password, eve.full_name) == (stored, "Eve")
    assert "not_recorded" in [e["code"] for e in done["left_out"]]


def test_erased_data_is_not_restored(fixtures, as_, r1):
    boss = as_(fixtures.boss)
    path = f"/users/{fixtures.eve.user.pk}"
    boss.patch(path, {"full_name": "Evelyn"}, headers=r1)
    boss.post(path + "/offboarding", {})
    boss.post(path + "/erasure")

    undo(boss, request_id="r-1", on_conflict="skip")

    assert boss.get(path).json()["full_name"] == ""


# ---- which events -------------------------------------------------------------------------------


def test_single_events_can_be_undone(fixtures, as_):
    ada = as_(fixtures.ada)
    ada.patch("/tasks/APO-1", {"title": "A"})
    ada.patch("/tasks/APO-1", {"priority": "high"})
    last = ada.get("/tasks/APO-1/events").json()["data"][1]["id"]

    assert undo(ada, event_ids=[last, last]).json()["undone"] == [last]
    assert (shown(ada)["title"], shown(ada)["priority"]) == ("Launch", "high")


def test_changes_of_a_user_since_a_time_can_be_undone(fixtures, as_):
    ada, bot = as_(fixtures.ada), as_(fixtures.bot)
    bot.patch("/tasks/APO-1", {"title": "before"})
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        since = timezone.now().isoformat()
        bot.patch("/tasks/APO-1", {"title": "after", "tags": ["bot"]})
        made = bot.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "junk"}).json()["id"]
        ada.patch("/tasks/APO-1", {"priority": "low"})

        done = undo(ada, actor="@bot", since=since, project="APO")

    assert done.status_code == 200, done.content
    task = shown(ada)
    assert (task["title"], task["tags"], task["priority"]) == ("before", [], "low")
    assert ada.get(f"/tasks/{made}").status_code == 404
    assert ada.get("/trash").json()["data"][0]["id"] == made


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request_id": "r", "event_ids": [1]},
        {"actor": "me"},
        {"since": "2026-01-01T00:00:00Z"},
        {"request_id": "r", "project": "APO"},
        {"event_ids": []},
        {"request_id": "r", "on_conflict": "force"},
        {"actor": "@nobody", "since": "2026-01-01T00:00:00Z"},
        {"actor": "me", "since": "2026-01-01T00:00:00Z", "project": "SEC"},
    ],
)
def test_ambiguous_selection_is_refused(fixtures, as_, body):
    assert as_(fixtures.ada).post("/undo", body).status_code == 422


def test_unknown_events_are_not_found(fixtures, as_):
    ada = as_(fixtures.ada)

    assert undo(ada, "nothing").status_code == 404
    assert undo(ada, event_ids=[10**9]).status_code == 404


# ---- who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "status"),
    [("ada", 200), ("carl", 200), ("boss", 200), ("bob", 200), ("eve", 404), ("mallory", 422)],
)
def test_undoing_changes_of_a_task_requires_a_member(fixtures, as_, r1, who, status):
    as_(fixtures.bot).patch("/tasks/APO-1", {"title": "A"}, headers=r1)

    assert undo(as_(getattr(fixtures, who)), actor="@bot").status_code == status


def test_own_changes_can_be_undone_by_a_member(fixtures, as_, r1):
    bob = as_(fixtures.bob)
    bob.patch("/tasks/APO-1", {"title": "A"}, headers=r1)

    assert undo(bob).status_code == 200


def test_own_changes_cannot_be_undone_by_a_former_member(fixtures, as_, r1):
    bob = as_(fixtures.bob)
    bob.patch("/tasks/APO-1", {"title": "A"}, headers=r1)
    with inside(fixtures.acme):
        member = ProjectMember.objects.get(user=fixtures.bob.user).pk
    as_(fixtures.ada).delete(f"/members/{member}")

    assert undo(bob).status_code == 404


def test_undoing_a_change_of_ownership_requires_an_owner(fixtures, as_, r1):
    with inside(fixtures.acme):
        member = ProjectMember.objects.get(user=fixtures.bob.user).pk
    as_(fixtures.ada).patch(f"/members/{member}", {"role": "owner"}, headers=r1)

    assert undo(as_(fixtures.carl), actor="@ada").status_code == 403
    assert undo(as_(fixtures.ada)).status_code == 200


def test_undoing_changes_of_users_requires_an_administrator_with_scope_admin(fixtures, as_, r1):
    as_(fixtures.boss).patch(f"/users/{fixtures.eve.user.pk}", {"full_name": "N"}, headers=r1)

    assert undo(as_(fixtures.ada), actor="@boss").status_code == 404
    assert undo(as_(fixtures.boss, "write")).json()["code"] == "insufficient_scope"
    assert undo(as_(fixtures.boss)).status_code == 200


def test_token_limited_to_projects_undoes_only_their_events(fixtures, as_, ids, r1):
    as_(fixtures.ada).patch("/tasks/APO-1", {"title": "A"}, headers=r1)

    assert undo(as_(fixtures.ada, project_ids=[ids["zeus"]])).status_code == 404
    assert undo(as_(fixtures.boss, project_ids=[ids["zeus"]]), actor="@ada").status_code == 404
    assert undo(as_(fixtures.ada, project_ids=[ids["apollo"]])).status_code == 200


def test_move_to_an_invisible_project_is_not_undone(fixtures, as_, r1):
    with inside(fixtures.acme):
        hidden = create_project(fixtures.boss, name="Hidden", key="HID")
        task = create_task(fixtures.boss, hidden, title="x")
    as_(fixtures.boss).post(
        f"/tasks/{task.pk}/move", {"project_id": fixtures.apollo.pk}, headers=r1
    )

    assert undo(as_(fixtures.carl), actor="@boss").status_code == 404


# ---- cost, and keys -----------------------------------------------------------------------------


def test_all_former_keys_find_a_task_that_was_moved_back(fixtures, as_, ids, r1):
    ada = as_(fixtures.ada)
    there = ada.post("/tasks/APO-1/move", {"project_id": ids["zeus"]}, headers=r1).json()["key"]
    undo(ada)

    assert ada.get("/tasks/APO-1").json()["key"] == "APO-1"
    assert ada.get(f"/tasks/{there}").json()["key"] == "APO-1"
    assert ada.post("/tasks/APO-1/move", {"project_id": ids["zeus"]}).status_code == 200


@pytest.mark.slow
def test_second_attempt_starts_from_the_stored_rows(fixtures, as_, ids, r1):
    """Rows that other users added to the new task are found only after the plan was applied."""
    ada, bob = as_(fixtures.ada), as_(fixtures.bob)
    operations = [
        {"op": "create", "data": {"project_id": ids["apollo"], "title": "x", "tags": ["new"]}},
        {"op": "move", "id": ids["other"], "data": {"project_id": ids["zeus"]}},
        {"op": "tag", "id": ids["child"], "data": {"tags": ["new"]}},
    ]
    made = ada.post("/tasks/bulk", {"operations": operations}, headers=r1).json()["results"][0][
        "id"
    ]
    bob.post("/comments", {"task_id": made, "body": "c"})

    assert undo(ada, on_conflict="skip").status_code == 200

    assert ada.get(f"/tasks/{ids['other']}").json()["key"] == "APO-2"
    assert ada.get(f"/tasks/{ids['child']}").json()["tags"] == []
    for project in ("zeus", "apollo", "zeus"):
        body = {"project_id": ids[project]}
        assert ada.post(f"/tasks/{ids['other']}/move", body).status_code == 200


def test_undone_creation_of_a_project_moves_it_to_the_trash_with_its_rows(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    body = {"name": "P", "tasks": [{"title": "a"}, {"title": "b"}]}
    project = ada.post("/projects", body, headers=r1).json()["id"]
    done = undo(ada).json()

    assert len(done["undone"]) == 4
    assert [(i["kind"], i["id"]) for i in ada.get("/trash").json()["data"]] == [
        ("project", project)
    ]
    assert ada.post(f"/trash/project/{project}/restoration").status_code == 200
    assert len(ada.get(f"/tasks?project={project}").json()["data"]) == 2
    with inside(fixtures.acme):
        assert ProjectMember.objects.get(project=project).role == Role.OWNER


def test_rows_deleted_in_a_deleted_project_are_restored_with_it(fixtures, as_, r1):
    ada = as_(fixtures.ada)
    ada.delete("/tasks/APO-1", headers=r1)
    with inside(fixtures.acme):
        delete_project(fixtures.ada, Project.objects.get(pk=fixtures.apollo.pk))

    assert undo(ada).status_code == 200
    assert ada.get("/tasks/APO-1").status_code == 404
    ada.post(f"/trash/project/{fixtures.apollo.pk}/restoration")
    assert ada.get("/tasks/APO-1").status_code == 200
