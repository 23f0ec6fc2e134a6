"""A token bound to projects gives no rights outside them, not even to an administrator."""

from __future__ import annotations

import pytest

from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient
from taskflow.tenancy import inside


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


def test_token_bound_to_invisible_project_shows_nothing(fixtures, as_):
    body = {"name": "x", "project_ids": [fixtures.secret.pk, 999_999]}

    text = as_(fixtures.ada).post("/tokens", body).json()["token"]

    client = ApiClient(text)
    assert client.get("/projects").json()["data"] == []
    assert client.get(f"/projects/{fixtures.secret.pk}").status_code == 404
