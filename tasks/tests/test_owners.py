"""A deactivated user never becomes the owner of anything, also not of rows in the trash."""

from __future__ import annotations

import pytest

from accounts.actions.users import deactivate_user
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.pages import create_page, delete_page
from tasks.actions.projects import create_project, delete_project
from tasks.models import Page, Project, ProjectMember, Role

pytestmark = pytest.mark.one_database


def offboard(client, actor, new_owner=None):
    body = {"hand_over_to": new_owner.user.pk} if new_owner else {}
    r = client.post(f"/users/{actor.user.pk}/offboarding", body)
    assert r.status_code == 200, r.content
    return r.json()


def membership(fixtures, project, actor):
    with inside(fixtures.acme):
        return ProjectMember.objects.get(project=project, user=actor.user).pk


@pytest.fixture
def shared(fixtures):
    """A project of Ada with the owners Carl, who joined first and is deactivated, and Bob."""
    with inside(fixtures.acme):
        project = create_project(fixtures.ada, name="Shared")
        for actor in (fixtures.carl, fixtures.bob):
            add_member(fixtures.ada, project, user=actor.user, role=Role.OWNER)
        deactivate_user(fixtures.boss, fixtures.carl.user)
    return project


@pytest.mark.parametrize("verb", ["leave", "demote"])
def test_deactivated_owner_does_not_take_over_a_project(fixtures, as_, shared, verb):
    path = f"/members/{membership(fixtures, shared, fixtures.ada)}"

    if verb == "leave":
        r = as_(fixtures.ada).delete(path)
    else:
        r = as_(fixtures.ada).patch(path, {"role": "member"})

    assert r.status_code < 300, r.content
    with inside(fixtures.acme):
        assert Project.objects.get(pk=shared.pk).owner == fixtures.bob.user


@pytest.mark.parametrize("verb", ["leave", "demote"])
def test_last_active_owner_cannot_leave_beside_a_deactivated_one(fixtures, as_, shared, verb):
    client = as_(fixtures.ada)
    client.delete(f"/members/{membership(fixtures, shared, fixtures.bob)}")
    path = f"/members/{membership(fixtures, shared, fixtures.ada)}"

    r = client.delete(path) if verb == "leave" else client.patch(path, {"role": "admin"})

    assert r.status_code == 409
    assert "active" in r.json()["detail"]
    with inside(fixtures.acme):
        assert Project.objects.get(pk=shared.pk).owner == fixtures.ada.user


@pytest.fixture
def trashed(fixtures):
    """A page of Ada in the trash, and a project that Ada owns in the trash, with a page."""
    with inside(fixtures.acme):
        page = create_page(fixtures.ada, fixtures.apollo, title="page")
        delete_page(fixtures.ada, page)
        project = create_project(fixtures.ada, name="Trashed")
        inner = create_page(fixtures.ada, project, title="inner")
        delete_project(fixtures.ada, project)
    return page, project, inner


def owners(fixtures, trashed):
    page, project, inner = trashed
    with inside(fixtures.acme):
        return [
            Page.everything.get(pk=page.pk).owner.handle,
            Project.everything.get(pk=project.pk).owner.handle,
            Page.everything.get(pk=inner.pk).owner.handle,
        ]


def test_offboarding_hands_over_what_is_in_the_trash(fixtures, as_, trashed):
    result = offboard(as_(fixtures.boss), fixtures.ada, fixtures.bob)

    assert owners(fixtures, trashed) == ["bob", "bob", "bob"]
    assert result["pages_handed_over"] == 2


def test_page_in_the_trash_goes_to_the_owner_of_its_project(fixtures, as_, trashed):
    with inside(fixtures.acme):
        add_member(fixtures.ada, fixtures.apollo, user=fixtures.eve.user, role=Role.OWNER)

    offboard(as_(fixtures.boss), fixtures.ada)

    assert owners(fixtures, trashed)[0] == "eve"


@pytest.mark.slow
def test_restored_project_without_an_owner_goes_to_the_user_who_restores_it(
    fixtures, as_, trashed, events
):
    boss = as_(fixtures.boss)
    with inside(fixtures.acme):
        add_member(fixtures.ada, fixtures.apollo, user=fixtures.eve.user, role=Role.OWNER)
    offboard(boss, fixtures.ada)
    _page, project, _inner = trashed

    r = boss.post(f"/trash/project/{project.pk}/restoration")

    assert r.status_code == 200, r.content
    assert owners(fixtures, trashed) == ["eve", "boss", "boss"]
    with inside(fixtures.acme):
        member = ProjectMember.objects.get(project=project)
        assert (member.user, member.role) == (fixtures.boss.user, Role.OWNER)
    verbs = [
        (e.subject_type, e.verb)
        for e in events(fixtures.acme, request_id=r.headers["X-Request-Id"])
    ]
    assert ("project", "handed_over") in verbs
    undone = boss.post("/undo", {"request_id": r.headers["X-Request-Id"], "on_conflict": "skip"})
    assert undone.status_code == 200


def test_restored_project_goes_to_an_active_owner_if_there_is_one(fixtures, as_, shared):
    with inside(fixtures.acme):
        delete_project(fixtures.ada, shared)
        deactivate_user(fixtures.boss, fixtures.ada.user)

    r = as_(fixtures.boss).post(f"/trash/project/{shared.pk}/restoration")

    assert r.status_code == 200, r.content
    with inside(fixtures.acme):
        assert Project.objects.get(pk=shared.pk).owner == fixtures.bob.user


def test_offboarded_agent_owns_nothing_in_the_trash(fixtures, as_):
    """Without a new owner, the agents of the user are offboarded with the user."""
    with inside(fixtures.acme):
        page = create_page(fixtures.bot, fixtures.apollo, title="page")
        delete_page(fixtures.bot, page)
        add_member(fixtures.ada, fixtures.apollo, user=fixtures.eve.user, role=Role.OWNER)

    offboard(as_(fixtures.boss), fixtures.ada)

    with inside(fixtures.acme):
        assert Page.everything.get(pk=page.pk).owner == fixtures.eve.user
