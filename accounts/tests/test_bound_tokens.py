"""A token bound to projects cannot be used to get rights outside them, whoever its user is."""

from __future__ import annotations

import pytest

from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient
from taskflow.tenancy import inside


@pytest.fixture
def bound(world, as_):
    return as_(world.boss, project_ids=[world.apollo.pk])


def test_bound_token_cannot_create_user(world, bound):
    body = {"email": "x@acme.example", "is_staff": True, "password": PASSWORD}

    r = bound.post("/users", body)

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    with inside(world.acme):
        assert User.objects.count() == 6


@pytest.mark.parametrize("body", [{"password": PASSWORD}, {"is_staff": True}, {"is_active": False}])
def test_bound_token_cannot_change_user(world, bound, body):
    for user, status in ((world.bob.user, 403), (world.eve.user, 404)):  # a member, and not
        assert bound.patch(f"/users/{user.pk}", body).status_code == status
        assert bound.delete(f"/users/{user.pk}").status_code == status


def test_bound_token_cannot_rotate_itself_into_wider_token(world, as_, bound):
    wide = as_(world.boss).post("/tokens", {"name": "wide"}).json()

    r = bound.post(f"/tokens/{wide['id']}/rotation")

    assert r.status_code == 404
    assert ApiClient(wide["token"]).get("/me").status_code == 200


def test_rotating_bound_token_keeps_its_projects(world, bound):
    with inside(world.acme):
        own = ApiToken.objects.latest("pk").pk

    r = bound.post(f"/tokens/{own}/rotation")

    assert (r.status_code, r.json()["project_ids"]) == (201, [world.apollo.pk])


def test_token_bound_to_no_project_is_refused(world, as_):
    """An empty list could be taken for “all projects”."""
    assert as_(world.ada).post("/tokens", {"name": "x", "project_ids": []}).status_code == 422


def test_token_bound_to_invisible_project_shows_nothing(world, as_):
    body = {"name": "x", "project_ids": [world.secret.pk, 999_999]}

    text = as_(world.ada).post("/tokens", body).json()["token"]

    client = ApiClient(text)
    assert client.get("/projects").json()["data"] == []
    assert client.get(f"/projects/{world.secret.pk}").status_code == 404
