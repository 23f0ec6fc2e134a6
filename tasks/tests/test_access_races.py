"""Giving roles and tasks to a user whose access another transaction ends at the same time."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from accounts.actions.users import update_user
from accounts.models import User
from conftest import ApiClient, Fixtures, build_fixtures, token_of
from taskflow.tenancy import inside
from taskflow.tests.concurrency import call_during
from tasks.actions.comments import create_comment, delete_comment
from tasks.actions.members import add_member
from tasks.actions.offboarding import offboard_user
from tasks.actions.pages import create_page, update_page
from tasks.actions.projects import create_project, update_project
from tasks.changes.tasks import assign_task, create_task, move_task
from tasks.models import Comment, Page, Project, ProjectMember, Role, Task

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


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
    "new page": (
        lambda w, user: create_page(w.boss, Project.objects.get(key="APO"), title="P", owner=user),
        lambda c, user: c.post(
            "/pages", {"project_id": project_id(c), "title": "P", "owner_id": user.pk}
        ),
    ),
    "page": (
        lambda w, user: update_page(w.boss, Page.objects.get(), owner=user),
        lambda c, user: c.patch(page_path(c), {"owner_id": user.pk}),
    ),
}
TO_A_MEMBER = {"new task", "task", "tasks in bulk", "new page", "page"}


def project_id(client: ApiClient) -> int:
    return int(client.get("/projects/APO").json()["id"])


def page_path(client: ApiClient) -> str:
    return f"/pages/{client.get('/pages').json()['data'][0]['id']}"


def prepare_rows(live: Fixtures, way: str) -> None:
    """Create the row that the way changes, if the fixtures have none."""
    if way == "page":
        new_page(live, live.ada.user)


def new_page(live: Fixtures, owner: User) -> Page:
    with inside(live.acme):
        return create_page(live.boss, live.apollo, title="Page", owner=owner)


def receiver(live: Fixtures, way: str) -> User:
    return live.bob.user if way in TO_A_MEMBER else live.eve.user


def holdings(live: Fixtures, user: User) -> list[Any]:
    with inside(live.acme):
        return [
            *ProjectMember.objects.filter(user=user),
            *Project.objects.filter(owner=user),
            *Task.objects.filter(assignee=user),
            *Page.objects.filter(owner=user),
        ]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("way", WAYS)
def test_user_being_offboarded_receives_nothing(live, boss, way):
    user = receiver(live, way)
    prepare_rows(live, way)
    _, request = WAYS[way]

    r = call_during(
        live.acme,
        lambda: offboard_user(live.boss, User.objects.get(pk=user.pk), live.boss.user),
        lambda: request(boss, user),
    )

    assert (r.status_code, holdings(live, user)) == (422, []), r.content
    assert "is deactivated" in r.json()["detail"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("way", WAYS)
def test_offboarding_hands_over_what_was_assigned_at_the_same_time(live, boss, way):
    user = receiver(live, way)
    prepare_rows(live, way)
    action, _ = WAYS[way]

    r = call_during(
        live.acme,
        lambda: action(live, user),
        lambda: boss.post(f"/users/{user.pk}/offboarding", {"hand_over_to": live.boss.user.pk}),
    )

    assert (r.status_code, holdings(live, user)) == (200, []), r.content


def test_user_being_offboarded_creates_no_page(live):
    client = ApiClient(token_of(live.bob))
    body = {"project_id": live.apollo.pk, "title": "P"}

    r = call_during(
        live.acme,
        lambda: offboard_user(live.boss, User.objects.get(pk=live.bob.user.pk), live.boss.user),
        lambda: client.post("/pages", body),
    )

    # On SQLite the request begins after the offboarding, with a token that is revoked then.
    assert r.status_code == (401 if connection.vendor == "sqlite" else 422), r.content
    assert holdings(live, live.bob.user) == []


# ---- offboarding, while other transactions take from the user what it would hand over -----------


def offboard(boss: ApiClient, user: User, **body: Any) -> Any:
    return lambda: boss.post(f"/users/{user.pk}/offboarding", body)


def test_page_given_away_during_offboarding_stays_with_its_new_owner(live, boss):
    page = new_page(live, live.bob.user)

    r = call_during(
        live.acme,
        lambda: update_page(live.boss, Page.objects.get(), owner=live.carl.user),
        offboard(boss, live.bob.user, hand_over_to=live.boss.user.pk),
    )

    with inside(live.acme):
        assert (r.status_code, Page.objects.get(pk=page.pk).owner) == (200, live.carl.user)


def test_project_given_away_during_offboarding_stays_with_its_new_owner(live, boss):
    r = call_during(
        live.acme,
        lambda: update_project(live.boss, Project.objects.get(key="APO"), owner=live.bob.user),
        offboard(boss, live.ada.user, hand_over_to=live.boss.user.pk),
    )

    with inside(live.acme):
        assert (r.status_code, Project.objects.get(key="APO").owner) == (200, live.bob.user)


def test_agent_given_to_another_user_during_offboarding_stays_active(live, boss):
    with inside(live.acme):
        add_member(live.boss, live.apollo, user=live.boss.user, role=Role.OWNER)

    r = call_during(
        live.acme,
        lambda: update_user(
            live.boss, User.objects.get(pk=live.bot.user.pk), responsible=live.carl.user
        ),
        offboard(boss, live.ada.user),
    )

    with inside(live.acme):
        agent = User.objects.get(pk=live.bot.user.pk)
    assert (r.status_code, r.json()["agents_deactivated"], agent.is_active) == (200, 0, True)


# ---- the trash ----------------------------------------------------------------------------------


def test_comment_of_a_task_being_moved_is_not_purged_by_managers_of_its_former_project(live):
    with inside(live.acme):
        hidden = create_project(live.boss, name="Hidden", key="HID")
        comment = create_comment(live.ada, live.task, body="text")
        delete_comment(live.ada, comment)

    r = call_during(
        live.acme,
        lambda: move_task(live.boss, Task.objects.get(pk=live.task.pk), hidden),
        lambda: ApiClient(token_of(live.carl)).delete(f"/trash/comment/{comment.pk}"),
    )

    with inside(live.acme):
        assert (r.status_code, Comment.everything.filter(pk=comment.pk).exists()) == (404, True)
