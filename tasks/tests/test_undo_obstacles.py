"""What the obstacles of an undo show: nothing of projects that the actor cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import ApiClient, Fixtures, token_of
from taskflow.audit.undo import planner
from taskflow.audit.undo.plan import Plan
from taskflow.tenancy import inside
from tasks.models import Project, Task
from tasks.tests.factories import ProjectFactory

R1 = "r-1"


@dataclass
class Place:
    """Two projects: Apollo, and Zeus of Ada, of which Bob is not a member."""

    fixtures: Fixtures
    zeus: Project

    def client(self, name: str, **kwargs: Any) -> ApiClient:
        return ApiClient(token_of(getattr(self.fixtures, name), **kwargs))


@pytest.fixture
def place(fixtures):
    return Place(fixtures, ProjectFactory(actor=fixtures.ada, name="Zeus", key="ZEU"))


def test_tag_used_in_hidden_projects_stays_without_naming_their_tasks(place):
    """Also for a token that is bound to another project of its user."""
    ada = place.client("ada")
    ada.post("/tags", {"name": "t"}, headers={"X-Request-Id": R1})
    hidden = [
        ada.post("/tasks", {"project_id": place.zeus.pk, "title": "Plot", "tags": ["t"]}).json()
        for _ in range(2)
    ]
    bound = place.client("ada", project_ids=[place.fixtures.apollo.pk])

    r = bound.post("/undo", {"request_id": R1})

    (error,) = r.json()["errors"]
    assert (r.status_code, error["code"]) == (409, "in_use")
    assert error["detail"] == "Other tasks have this tag."
    assert not any(str(task["id"]) in error["detail"] for task in hidden)


def test_parent_that_was_moved_to_a_hidden_project_is_not_named(place):
    ada, bob, apollo = place.client("ada"), place.client("bob"), place.fixtures.apollo
    parent = bob.post("/tasks", {"project_id": apollo.pk, "title": "P"}).json()["id"]
    child = bob.post("/tasks", {"project_id": apollo.pk, "title": "C", "parent_id": parent}).json()[
        "id"
    ]
    bob.patch(f"/tasks/{child}", {"parent_id": None}, headers={"X-Request-Id": R1})
    ada.post(f"/tasks/{parent}/move", {"project_id": place.zeus.pk})

    moved = bob.post("/undo", {"request_id": R1}).json()["errors"]
    ada.delete(f"/tasks/{parent}")
    deleted = bob.post("/undo", {"request_id": R1}).json()["errors"]

    assert moved == deleted
    assert [e["code"] for e in moved] == ["target_gone"]
    assert str(parent) not in moved[0]["detail"]


def test_blocker_that_was_deleted_in_a_hidden_project_is_not_named(place):
    ada = place.client("ada")
    blocker = ada.post("/tasks", {"project_id": place.zeus.pk, "title": "B"}).json()["id"]
    ada.patch("/tasks/APO-1", {"blocked_by": [blocker]})
    place.client("bob").patch("/tasks/APO-1", {"blocked_by": []}, headers={"X-Request-Id": R1})
    ada.delete(f"/tasks/{blocker}")
    assert ada.delete(f"/trash/task/{blocker}").status_code == 204

    (left_out,) = place.client("bob").post("/undo", {"request_id": R1}).json()["left_out"]

    assert (left_out["code"], left_out["field"]) == ("target_gone", "blocked_by")
    assert str(blocker) not in left_out["detail"]


def test_assignee_who_was_deactivated_then_and_is_so_again_is_restored(place):
    """Ada was deactivated when the task was unassigned, and activated in between."""
    boss = place.client("boss")
    path, ada = f"/users/{place.fixtures.ada.user.pk}", place.fixtures.ada.user.pk
    assert boss.get("/tasks/APO-1").json()["assignee"]["id"] == ada
    boss.patch(path, {"is_active": False})
    boss.patch("/tasks/APO-1", {"assignee": None}, headers={"X-Request-Id": R1})
    assert boss.get("/tasks/APO-1").json()["assignee"] is None
    boss.patch(path, {"is_active": True})
    boss.patch(path, {"is_active": False})

    r = boss.post("/undo", {"request_id": R1})

    assert r.status_code == 200, r.content
    assert boss.get("/tasks/APO-1").json()["assignee"]["id"] == ada


@pytest.mark.parametrize("leave", ["member", "off-boarding"])
def test_undoing_only_the_unassignment_of_somebody_who_left_is_refused(place, leave):
    """Leaving is one request. Before it the assignee had access, so no former state has one
    without access.
    """
    boss, ada = place.client("boss"), place.fixtures.ada.user.pk
    boss.patch("/projects/APO", {"owner_id": place.fixtures.carl.user.pk})
    boss.patch("/projects/ZEU", {"owner_id": place.fixtures.boss.user.pk})
    if leave == "member":
        (member,) = (
            m for m in boss.get("/projects/APO/members").json()["data"] if m["user"]["id"] == ada
        )
        left = boss.delete(f"/members/{member['id']}", headers={"X-Request-Id": R1})
    else:
        left = boss.post(f"/users/{ada}/offboarding", {}, headers={"X-Request-Id": R1})
    assert left.status_code < 300, left.content
    assert boss.get("/tasks/APO-1").json()["assignee"] is None
    (unassigned,) = (
        e["id"]
        for e in boss.get(f"/tasks/{place.fixtures.task.pk}/events").json()["data"]
        if e["verb"] == "task.unassigned"
    )

    r = boss.post("/undo", {"event_ids": [unassigned]})

    assert r.status_code == 409, r.content
    expected = "no_member" if leave == "member" else "deactivated"
    assert [e["code"] for e in r.json()["errors"]] == [expected]
    assert boss.post("/undo", {"request_id": R1}).status_code == 200
    assert boss.get("/tasks/APO-1").json()["assignee"]["id"] == ada


def test_references_of_a_row_with_many_links_are_checked_once(fixtures):
    class Rows(set):
        unions = 0

        def __ror__(self, other):
            Rows.unions += 1
            return set(other).union(self)

    resource_type = SimpleNamespace(model=Task)
    links = {"tags": dict.fromkeys(range(1_000_001, 1_000_101), True)}
    reversal = SimpleNamespace(
        resource_type=resource_type,
        subject=("task", 1),
        values={},
        links=links,
        events=[SimpleNamespace(subject_type="task", subject_id=1)],
    )
    plan = Plan(reversals=[reversal], recreated=Rows())

    with inside(fixtures.acme):
        planner._check_targets(plan, fixtures.ada.viewer)

    assert Rows.unions == 1  # a union for each link made 20,000 links take a minute
    assert links == {"tags": {}}
    assert [obstacle.code for obstacle in plan.skipped] == ["target_gone"] * 100


def test_tag_that_a_bound_token_does_not_see_is_restored(place):
    """Requests name tags, whoever can see them."""
    ada = place.client("ada")
    ada.patch("/tasks/APO-1", {"tags": ["t"]})
    ada.patch("/tasks/APO-1", {"tags": []}, headers={"X-Request-Id": R1})
    bound = place.client("ada", project_ids=[place.fixtures.apollo.pk])

    done = bound.post("/undo", {"request_id": R1}).json()

    assert (len(done["undone"]), done["left_out"]) == (1, [])
    assert [tag["name"] for tag in ada.get("/tasks/APO-1").json()["tags"]] == ["t"]


def test_blocker_in_a_project_that_was_left_is_not_restored(place):
    """The response is the same as if the blocker had been deleted permanently."""
    ada, bob = place.client("ada"), place.client("bob")
    ada.post(f"/projects/{place.zeus.pk}/members", {"user_id": place.fixtures.bob.user.pk})
    blocker = ada.post("/tasks", {"project_id": place.zeus.pk, "title": "B"}).json()["id"]
    bob.patch("/tasks/APO-1", {"blocked_by": [blocker]})
    bob.patch("/tasks/APO-1", {"blocked_by": []}, headers={"X-Request-Id": R1})
    members = ada.get(f"/projects/{place.zeus.pk}/members").json()["data"]
    (member,) = (m["id"] for m in members if m["user_id"] == place.fixtures.bob.user.pk)
    assert ada.delete(f"/members/{member}").status_code == 204

    hidden = bob.post("/undo?dry_run=true", {"request_id": R1}).json()
    ada.delete(f"/tasks/{blocker}")
    ada.delete(f"/trash/task/{blocker}")
    deleted = bob.post("/undo?dry_run=true", {"request_id": R1}).json()

    assert hidden["left_out"] == deleted["left_out"]
    assert [e["code"] for e in hidden["left_out"]] == ["target_gone"]
