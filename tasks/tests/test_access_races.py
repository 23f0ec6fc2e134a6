"""Giving roles and tasks to a user whose access another transaction ends at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from conftest import ApiClient, Fixtures, build_fixtures, token_of
from taskflow.tenancy import inside
from taskflow.tests.concurrency import call_during
from tasks.actions.members import add_member
from tasks.actions.offboarding import offboard_user
from tasks.actions.projects import create_project, update_project
from tasks.changes.tasks import assign_task, create_task
from tasks.models import Project, ProjectMember, Task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def live() -> Fixtures:
    return build_fixtures()


@pytest.fixture
def boss(live: Fixtures) -> ApiClient:
    return ApiClient(token_of(live.boss))


# Each gives a user something: as an action on rows of its own, and as a request.
WAYS: dict[str, tuple[Any, Any]] = {
    "membership": (
        lambda w, user: add_member(w.boss, Project.objects.get(key="APO"), user=user),
        lambda c, user: c.post("/projects/APO/members", {"user_id": user.pk}),
    ),
    "new project": (
        lambda w, user: create_project(w.boss, name="New", key="NEW", owner=user),
        lambda c, user: c.post("/projects", {"name": "New", "key": "NEW", "owner_id": user.pk}),
    ),
    "project": (
        lambda w, user: update_project(w.boss, Project.objects.get(key="APO"), owner=user),
        lambda c, user: c.patch("/projects/APO", {"owner_id": user.pk}),
    ),
    "new task": (
        lambda w, user: create_task(
            w.boss, Project.objects.get(key="APO"), title="new", assignee=user
        ),
        lambda c, user: c.put(
            "/projects/APO/tasks/by-ref/new", {"title": "new", "assignee_id": user.pk}
        ),
    ),
    "task": (
        lambda w, user: assign_task(w.boss, Task.objects.get(number=1), user),
        lambda c, user: c.post("/tasks/APO-1/assignment", {"assignee_id": user.pk}),
    ),
    "tasks in bulk": (
        lambda w, user: assign_task(w.boss, Task.objects.get(number=1), user),
        lambda c, user: c.post(
            "/tasks/bulk",
            {"operations": [{"op": "assign", "id": "APO-1", "data": {"assignee_id": user.pk}}]},
        ),
    ),
}
TO_A_MEMBER = {"new task", "task", "tasks in bulk"}


def receiver(live: Fixtures, way: str) -> User:
    return live.bob.user if way in TO_A_MEMBER else live.eve.user


def holdings(live: Fixtures, user: User) -> list[Any]:
    with inside(live.acme):
        return [
            *ProjectMember.objects.filter(user=user),
            *Project.objects.filter(owner=user),
            *Task.objects.filter(assignee=user),
        ]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("way", WAYS)
def test_user_being_offboarded_receives_nothing(live, boss, way):
    user = receiver(live, way)
    _, request = WAYS[way]

    r = call_during(
        live.acme,
        lambda: offboard_user(live.boss, User.objects.get(pk=user.pk), live.boss.user),
        lambda: request(boss, user),
    )

    assert (r.status_code, holdings(live, user)) == (422, []), r.content
    assert "is deactivated" in r.json()["detail"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("way", WAYS)
def test_offboarding_hands_over_what_was_assigned_at_the_same_time(live, boss, way):
    user = receiver(live, way)
    action, _ = WAYS[way]

    r = call_during(
        live.acme,
        lambda: action(live, user),
        lambda: boss.post(f"/users/{user.pk}/offboarding", {"hand_over_to": live.boss.user.pk}),
    )

    assert (r.status_code, holdings(live, user)) == (200, []), r.content
