"""Offboarding a user: everything they own is handed over."""

from __future__ import annotations

import pytest

from accounts.actions.users import create_user
from accounts.models import User
from taskflow.http.errors import Forbidden
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.offboarding import offboard_user
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project, delete_project
from tasks.changes.tasks import complete_task, create_task
from tasks.models import Page, Project, ProjectMember, Role, Task


def offboard(client, actor, new_owner=None):
    body = {"hand_over_to": new_owner.user.pk} if new_owner else {}
    return client.post(f"/users/{actor.user.pk}/offboarding", body)


@pytest.fixture
def work(world):
    """Ada owns Apollo with Launch, and a project of her own with two tasks, one done, and a page."""
    with inside(world.acme):
        hers = create_project(world.ada, name="Hers")
        task = create_task(world.ada, hers, title="open", assignee=world.ada.user)
        done = create_task(world.ada, hers, title="done", assignee=world.ada.user)
        complete_task(world.ada, done)
        page = create_page(world.ada, hers, title="Draft")
    return hers, task, done, page


def test_offboarding_hands_over_everything_to_the_new_owner(world, as_, events, work):
    hers, task, done, page = work
    boss = as_(world.boss)
    old = as_(world.ada)

    r = offboard(boss, world.ada, world.bob)

    answer = r.json()
    assert (r.status_code, answer.pop("user")["is_active"]) == (200, False)
    assert answer == {
        "tokens_revoked": 1,
        "tasks_handed_over": 2,
        "tasks_unassigned": 0,
        "projects_handed_over": [world.apollo.pk, hers.pk],
        "pages_handed_over": 1,
        "memberships_ended": 2,
        "agents_handed_over": 1,
        "agents_deactivated": 0,
    }
    assert old.get("/me").status_code == 401
    with inside(world.acme):
        assert {p.owner for p in Project.objects.all()} == {world.bob.user}
        roles = ProjectMember.objects.filter(user=world.bob.user).values_list("role", flat=True)
        assert set(roles) == {Role.OWNER}
        assert not ProjectMember.objects.filter(user=world.ada.user).exists()
        assert Task.objects.get(pk=task.pk).assignee == world.bob.user
        assert Task.objects.get(pk=done.pk).assignee == world.ada.user
        assert Page.objects.get(pk=page.pk).owner == world.bob.user
        assert User.objects.get(pk=world.bot.user.pk).responsible == world.bob.user
    done_by = {e.actor_id for e in events(world.acme, request_id=r.headers["X-Request-Id"])}
    assert done_by == {world.boss.user.pk}


def test_offboarding_twice_changes_nothing(world, as_, events, work):
    boss = as_(world.boss)
    offboard(boss, world.ada, world.bob)
    before = len(events(world.acme))

    answer = offboard(boss, world.ada, world.bob).json()

    answer.pop("user")
    assert not any(answer.values())
    assert len(events(world.acme)) == before


def test_without_new_owner_another_owner_takes_over(world, as_):
    with inside(world.acme):
        carl = ProjectMember.objects.get(user=world.carl.user)
    boss = as_(world.boss)
    assert as_(world.ada).patch(f"/members/{carl.pk}", {"role": "owner"}).status_code == 200

    answer = offboard(boss, world.ada).json()

    assert answer["projects_handed_over"] == [world.apollo.pk]
    assert (answer["tasks_unassigned"], answer["agents_deactivated"]) == (1, 1)
    with inside(world.acme):
        assert Project.objects.get(pk=world.apollo.pk).owner == world.carl.user
        assert not User.objects.get(pk=world.bot.user.pk).is_active


def test_projects_without_another_owner_are_listed_in_the_refusal(world, as_, events, work):
    boss = as_(world.boss)
    before = len(events(world.acme))

    r = offboard(boss, world.ada)

    assert (r.status_code, r.json()["code"]) == (409, "no_other_owner")
    named = [e["project_id"] for e in r.json()["errors"]]
    assert named == [world.apollo.pk, work[0].pk]
    assert len(events(world.acme)) == before


def test_task_that_the_new_owner_cannot_see_is_unassigned(world, as_):
    with inside(world.acme):
        other = create_project(world.carl, name="Carl's")
        add_member(world.carl, other, user=world.bob.user)
        create_task(world.carl, other, title="x", assignee=world.bob.user)
        create_task(world.ada, world.apollo, title="y", assignee=world.bob.user)
        create_page(world.bob, other, title="P")

    answer = offboard(as_(world.boss), world.bob, world.ada).json()

    assert (answer["tasks_handed_over"], answer["tasks_unassigned"]) == (1, 1)
    with inside(world.acme):
        assert Page.objects.get().owner == world.carl.user


def test_project_in_the_trash_does_not_prevent_offboarding(world, as_, work):
    hers, *_ = work
    with inside(world.acme):
        delete_project(world.ada, hers)
        delete_project(world.ada, world.apollo)
    boss = as_(world.boss)

    assert offboard(boss, world.ada).status_code == 200
    assert boss.post(f"/trash/project/{hers.pk}/restoration").status_code == 200


def test_invalid_new_owner_is_refused(world, as_):
    boss = as_(world.boss)
    with inside(world.acme):
        gone = create_user(world.boss, email="gone@acme.example")
    boss.patch(f"/users/{gone.pk}", {"is_active": False})

    for pk in (world.ada.user.pk, world.bot.user.pk, world.mallory.user.pk, gone.pk, 10**9):
        path = f"/users/{world.ada.user.pk}/offboarding"
        r = boss.post(path, {"hand_over_to": pk})
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/hand_over_to")


def test_only_administrators_can_offboard(world, events):
    before = len(events(world.acme))
    with inside(world.acme):
        for actor in (world.ada, world.eve):
            with pytest.raises(Forbidden):
                offboard_user(actor, world.bob.user, world.ada.user)
    assert len(events(world.acme)) == before, "the rule comes before all else"


def test_last_administrator_cannot_be_offboarded(world, as_):
    r = offboard(as_(world.boss), world.boss, world.ada)

    assert r.status_code == 409
    assert as_(world.boss).get("/me").status_code == 200


# ---- personal data ------------------------------------------------------------------------------


def test_erasure_removes_personal_data_from_the_event_log(world, as_, events):
    boss, path = as_(world.boss), f"/users/{world.eve.user.pk}"
    boss.patch(path, {"full_name": "Eve Secretname", "email": "private@acme.example"})
    assert boss.post(f"{path}/erasure").status_code == 409
    boss.post(f"{path}/offboarding", {})
    before = len(events(world.acme))

    user = boss.post(f"{path}/erasure").json()

    name = f"erased-{world.eve.user.pk}"
    assert (user["full_name"], user["handle"], user["email"]) == (
        "",
        name,
        f"{name}@erased.invalid",
    )
    log = events(world.acme)
    assert len(log) == before + 1, "nothing is taken out of the log, and this is on it"
    said = str([e.changes for e in log])
    assert "Secretname" not in said
    assert "private@" not in said
    assert "eve" not in str([e.changes for e in log if e.subject_id == world.eve.user.pk])
    assert log[-1].verb == "erased"
    assert boss.post(f"{path}/erasure").status_code == 200
    assert len(events(world.acme)) == before + 1
