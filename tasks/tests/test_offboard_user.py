"""Offboarding a user: everything they own is handed over."""

from __future__ import annotations

import pytest

from accounts.actions.users import create_user, update_user
from accounts.models import User
from taskflow.http.errors import Forbidden
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.offboarding import offboard_user
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project, delete_project
from tasks.actions.views import create_view
from tasks.changes.tasks import complete_task, create_task
from tasks.models import Page, Project, ProjectMember, Role, Task, View

pytestmark = pytest.mark.one_database


def offboard(client, actor, new_owner=None):
    body = {"hand_over_to": new_owner.user.pk} if new_owner else {}
    return client.post(f"/users/{actor.user.pk}/offboarding", body)


@pytest.fixture
def work(fixtures):
    """Ada owns Apollo with Launch, and a project of her own with two tasks, one done, and a page."""
    with inside(fixtures.acme):
        second_project = create_project(fixtures.ada, name="Second")
        task = create_task(fixtures.ada, second_project, title="open", assignee=fixtures.ada.user)
        done = create_task(fixtures.ada, second_project, title="done", assignee=fixtures.ada.user)
        complete_task(fixtures.ada, done)
        page = create_page(fixtures.ada, second_project, title="Draft")
        create_view(fixtures.ada, name="Shared", where={"tag": ["bug"]}, is_shared=True)
        create_view(fixtures.ada, name="Own", where={"tag": ["bug"]})
    return second_project, task, done, page


def test_offboarding_hands_over_everything_to_the_new_owner(fixtures, as_, events, work):
    second_project, task, done, page = work
    boss = as_(fixtures.boss)
    old = as_(fixtures.ada)

    r = offboard(boss, fixtures.ada, fixtures.bob)

    result = r.json()
    assert (r.status_code, result.pop("user")["is_active"]) == (200, False)
    assert result == {
        "tokens_revoked": 1,
        "tasks_handed_over": 2,
        "tasks_unassigned": 0,
        "projects_handed_over": [fixtures.apollo.pk, second_project.pk],
        "pages_handed_over": 1,
        "views_handed_over": 1,
        "views_deleted": 1,
        "memberships_ended": 2,
        "agents_handed_over": 1,
        "agents_deactivated": 0,
    }
    assert old.get("/me").status_code == 401
    with inside(fixtures.acme):
        assert {p.owner for p in Project.objects.all()} == {fixtures.bob.user}
        roles = ProjectMember.objects.filter(user=fixtures.bob.user).values_list("role", flat=True)
        assert set(roles) == {Role.OWNER}
        assert not ProjectMember.objects.filter(user=fixtures.ada.user).exists()
        assert Task.objects.get(pk=task.pk).assignee == fixtures.bob.user
        assert Task.objects.get(pk=done.pk).assignee == fixtures.ada.user
        assert Page.objects.get(pk=page.pk).owner == fixtures.bob.user
        assert User.objects.get(pk=fixtures.bot.user.pk).responsible == fixtures.bob.user
        owners = dict(View.objects.values_list("name", "owner"))
        assert owners == {"Shared": fixtures.bob.user.pk}  # “Own” was seen by nobody else
    done_by = {e.actor_id for e in events(fixtures.acme, request_id=r.headers["X-Request-Id"])}
    assert done_by == {fixtures.boss.user.pk}


def test_offboarding_twice_changes_nothing(fixtures, as_, events, work):
    boss = as_(fixtures.boss)
    offboard(boss, fixtures.ada, fixtures.bob)
    before = len(events(fixtures.acme))

    result = offboard(boss, fixtures.ada, fixtures.bob).json()

    result.pop("user")
    assert not any(result.values())
    assert len(events(fixtures.acme)) == before


def test_without_new_owner_another_owner_takes_over(fixtures, as_):
    with inside(fixtures.acme):
        carl = ProjectMember.objects.get(user=fixtures.carl.user)
    boss = as_(fixtures.boss)
    assert as_(fixtures.ada).patch(f"/members/{carl.pk}", {"role": "owner"}).status_code == 200

    result = offboard(boss, fixtures.ada).json()

    assert result["projects_handed_over"] == [fixtures.apollo.pk]
    assert (result["tasks_unassigned"], result["agents_deactivated"]) == (1, 1)
    with inside(fixtures.acme):
        assert Project.objects.get(pk=fixtures.apollo.pk).owner == fixtures.carl.user
        assert not User.objects.get(pk=fixtures.bot.user.pk).is_active


def test_projects_without_another_owner_are_listed_in_the_refusal(fixtures, as_, events, work):
    boss = as_(fixtures.boss)
    before = len(events(fixtures.acme))

    r = offboard(boss, fixtures.ada)

    assert (r.status_code, r.json()["code"]) == (409, "no_other_owner")
    named = [e["project_id"] for e in r.json()["errors"]]
    assert named == [fixtures.apollo.pk, work[0].pk]
    assert len(events(fixtures.acme)) == before


def test_task_that_the_new_owner_cannot_see_is_unassigned(fixtures, as_):
    with inside(fixtures.acme):
        other = create_project(fixtures.carl, name="Carl's")
        add_member(fixtures.carl, other, user=fixtures.bob.user)
        create_task(fixtures.carl, other, title="x", assignee=fixtures.bob.user)
        create_task(fixtures.ada, fixtures.apollo, title="y", assignee=fixtures.bob.user)
        create_page(fixtures.bob, other, title="P")

    result = offboard(as_(fixtures.boss), fixtures.bob, fixtures.ada).json()

    assert (result["tasks_handed_over"], result["tasks_unassigned"]) == (1, 1)
    with inside(fixtures.acme):
        assert Page.objects.get().owner == fixtures.carl.user


def test_project_in_the_trash_does_not_prevent_offboarding(fixtures, as_, work):
    second_project, *_ = work
    with inside(fixtures.acme):
        delete_project(fixtures.ada, second_project)
        delete_project(fixtures.ada, fixtures.apollo)
    boss = as_(fixtures.boss)

    assert offboard(boss, fixtures.ada).status_code == 200
    assert boss.post(f"/trash/project/{second_project.pk}/restoration").status_code == 200


def test_invalid_new_owner_is_refused(fixtures, as_):
    boss = as_(fixtures.boss)
    with inside(fixtures.acme):
        gone = create_user(fixtures.boss, email="gone@acme.example")
    boss.patch(f"/users/{gone.pk}", {"is_active": False})

    for pk in (
        fixtures.ada.user.pk,
        fixtures.bot.user.pk,
        fixtures.mallory.user.pk,
        gone.pk,
        10**9,
    ):
        path = f"/users/{fixtures.ada.user.pk}/offboarding"
        r = boss.post(path, {"hand_over_to": pk})
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/hand_over_to")


def test_only_administrators_can_offboard(fixtures, events):
    before = len(events(fixtures.acme))
    with inside(fixtures.acme):
        for actor in (fixtures.ada, fixtures.eve):
            with pytest.raises(Forbidden):
                offboard_user(actor, fixtures.bob.user, fixtures.ada.user)
    assert len(events(fixtures.acme)) == before, "the rule comes before all else"


def test_last_administrator_cannot_be_offboarded(fixtures, as_):
    r = offboard(as_(fixtures.boss), fixtures.boss, fixtures.ada)

    assert r.status_code == 409
    assert as_(fixtures.boss).get("/me").status_code == 200


# ---- personal data ------------------------------------------------------------------------------


@pytest.mark.slow
def test_erasure_removes_personal_data_from_the_event_log(fixtures, as_, events):
    boss, path = as_(fixtures.boss), f"/users/{fixtures.eve.user.pk}"
    with inside(fixtures.acme):
        names = {"full_name": "Eve Secretname", "email": "private@acme.example"}
        update_user(fixtures.boss, fixtures.eve.user, **names)
    assert boss.post(f"{path}/erasure").status_code == 409
    boss.post(f"{path}/offboarding", {})
    before = len(events(fixtures.acme))

    user = boss.post(f"{path}/erasure").json()

    name = f"erased-{fixtures.eve.user.pk}"
    assert (user["full_name"], user["handle"], user["email"]) == (
        "",
        name,
        f"{name}@erased.invalid",
    )
    log = events(fixtures.acme)
    assert len(log) == before + 1, "nothing is taken out of the log, and this is on it"
    log_text = str([e.changes for e in log])
    assert "Secretname" not in log_text
    assert "private@" not in log_text
    assert "eve" not in str([e.changes for e in log if e.subject_id == fixtures.eve.user.pk])
    assert log[-1].verb == "erased"
    assert boss.post(f"{path}/erasure").status_code == 200
    assert len(events(fixtures.acme)) == before + 1
