"""A token bound to projects gives no rights outside them, not even to an administrator."""

from __future__ import annotations

import pytest

from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient
from taskflow.tenancy import inside
from tasks.actions.projects import delete_project
from tasks.tests.factories import ProjectFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def bound(fixtures, as_):
    return as_(fixtures.boss, project_ids=[fixtures.apollo.pk])


def test_bound_token_cannot_create_user(fixtures, bound):
    body = {"email": "x@acme.example", "is_staff": True, "password": PASSWORD}

    r = bound.post("/users", body)

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    with inside(fixtures.acme):
        assert User.objects.count() == 6


@pytest.mark.parametrize("body", [{"password": PASSWORD}, {"is_staff": True}, {"is_active": False}])
def test_bound_token_cannot_change_user(fixtures, bound, body):
    for user, status in ((fixtures.bob.user, 403), (fixtures.eve.user, 404)):  # a member, and not
        assert bound.patch(f"/users/{user.pk}", body).status_code == status
        assert bound.delete(f"/users/{user.pk}").status_code == status


def test_bound_token_cannot_rotate_itself_into_wider_token(fixtures, as_, bound):
    wide = as_(fixtures.boss).post("/tokens", {"name": "wide"}).json()

    r = bound.post(f"/tokens/{wide['id']}/rotation")

    assert r.status_code == 404
    assert ApiClient(wide["token"]).get("/me").status_code == 200


def test_rotating_bound_token_keeps_its_projects(fixtures, bound):
    with inside(fixtures.acme):
        own = ApiToken.objects.latest("pk").pk

    r = bound.post(f"/tokens/{own}/rotation")

    assert (r.status_code, r.json()["project_ids"]) == (201, [fixtures.apollo.pk])


def test_token_bound_to_no_project_is_refused(fixtures, as_):
    """An empty list could be taken for “all projects”."""
    assert as_(fixtures.ada).post("/tokens", {"name": "x", "project_ids": []}).status_code == 422


@pytest.mark.parametrize("name", ["boss", "ada"])
def test_token_for_projects_that_are_not_visible_is_refused(fixtures, as_, name):
    """A project of another tenant, one in the trash, one of others and none get one response."""
    hidden = ProjectFactory(actor=fixtures.mallory, name="Hidden", key="HID")
    trashed = ProjectFactory(actor=fixtures.ada, name="Trashed", key="TRA")
    with inside(fixtures.acme):
        delete_project(fixtures.ada, trashed)
    of_others = ProjectFactory(actor=fixtures.carl, name="Other", key="OTH")
    ids = [fixtures.apollo.pk, hidden.pk, trashed.pk, 999_999]
    if name == "ada":
        ids.append(of_others.pk)

    r = as_(getattr(fixtures, name)).post("/tokens", {"name": "x", "project_ids": ids})

    details = [f"There is no project {pk}." for pk in ids]
    assert (r.status_code, r.json()["detail"]) == (422, details[1])
    assert r.json()["errors"] == [
        {"pointer": f"#/project_ids/{n}", "code": "unknown_reference", "detail": details[n]}
        for n in range(1, len(ids))
    ]


def test_bound_token_shows_nothing_of_projects_that_its_user_cannot_see(fixtures, as_):
    """They were visible when the token was created."""
    client = as_(fixtures.ada, project_ids=[fixtures.secret.pk, 999_999])

    assert client.get("/projects").json()["data"] == []
    assert client.get(f"/projects/{fixtures.secret.pk}").status_code == 404
