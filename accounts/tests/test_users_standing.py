"""Responsible users of agents, and what ends when a user is deactivated."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from accounts.actions.users import create_user, update_user
from accounts.models import User
from conftest import PASSWORD, ApiClient, build_fixtures, token_of
from taskflow.audit.actor import Actor
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize(
    ("who", "responsible", "status"),
    [
        ("bot", "bob", 200),
        ("bot", None, 200),
        ("bot", "bot", 422),  # an agent is responsible for no user
        ("bob", "eve", 422),  # a responsible user could create tokens for the other person
        ("bob", None, 200),
        ("bot", "mallory", 422),
    ],
)
def test_only_active_person_can_be_responsible_for_agent(fixtures, as_, who, responsible, status):
    user_id = responsible and getattr(fixtures, responsible).user.pk
    path = f"/users/{getattr(fixtures, who).user.pk}"

    r = as_(fixtures.boss).patch(path, {"responsible_id": user_id})

    assert r.status_code == status, r.content
    if status == 200:
        assert r.json()["responsible_id"] == user_id
    else:
        assert r.json()["errors"][0]["pointer"] == "#/responsible_id"


@pytest.mark.parametrize("body", [{"kind": "human", "email": "n@acme.example"}, {"kind": "agent"}])
def test_creating_user_with_wrong_responsible_is_refused(fixtures, as_, body):
    r = as_(fixtures.boss).post("/users", body | {"responsible_id": fixtures.bot.user.pk})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/responsible_id")


def test_former_responsible_user_cannot_create_agent_token(fixtures, as_):
    body = {"name": "x", "user_id": fixtures.bot.user.pk}
    assert as_(fixtures.ada).post("/tokens", body).status_code == 201

    as_(fixtures.boss).patch(
        f"/users/{fixtures.bot.user.pk}", {"responsible_id": fixtures.bob.user.pk}
    )

    assert as_(fixtures.ada).post("/tokens", body).status_code == 403
    assert as_(fixtures.bob).post("/tokens", body).status_code == 201


def test_null_clears_nullable_fields(fixtures, as_):
    path = f"/users/{fixtures.bot.user.pk}"
    as_(fixtures.boss).patch(path, {"email": "bot@acme.example"})

    assert as_(fixtures.boss).patch(path, {"email": None}).json()["email"] is None
    for field in ("handle", "full_name", "is_staff", "is_active", "password"):
        assert as_(fixtures.boss).patch(path, {field: None}).status_code == 422, field
    person = as_(fixtures.boss).patch(f"/users/{fixtures.bob.user.pk}", {"email": None})
    assert (person.status_code, person.json()["code"]) == (422, "invalid")


def test_reactivated_user_needs_new_tokens(fixtures, as_):
    path, old = f"/users/{fixtures.bob.user.pk}", ApiClient(token_of(fixtures.bob))
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.bob.user, is_active=False, password=PASSWORD)
    login = {"email": "bob@acme.example", "password": PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 401

    as_(fixtures.boss).patch(path, {"is_active": True})

    assert old.get("/me").status_code == 401
    assert ApiClient().post("/auth/login", login).status_code == 200


def test_creating_token_for_deactivated_agent_is_refused(fixtures, as_):
    as_(fixtures.boss).patch(f"/users/{fixtures.bot.user.pk}", {"is_active": False})

    r = as_(fixtures.ada).post("/tokens", {"name": "x", "user_id": fixtures.bot.user.pk})

    assert (r.status_code, r.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("method", "body", "status"), [("patch", {"is_staff": False}, 200), ("delete", None, 204)]
)
def test_second_administrator_can_be_removed(fixtures, as_, method, body, status):
    created = {"email": "second@acme.example", "is_staff": True}
    second = as_(fixtures.boss).post("/users", created).json()["id"]

    r = getattr(as_(fixtures.boss), method)(f"/users/{second}", body)

    assert r.status_code == status
    assert (
        as_(fixtures.boss).patch(f"/users/{fixtures.boss.user.pk}", {"is_staff": False}).status_code
        == 409
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_two_administrators_cannot_deactivate_each_other():
    fixtures = build_fixtures()
    with inside(fixtures.acme):
        second = create_user(fixtures.boss, email="second@acme.example", is_staff=True)
    tokens = {
        fixtures.boss.user.pk: token_of(fixtures.boss),
        second.pk: token_of(Actor(second, fixtures.acme)),
    }
    barrier = threading.Barrier(2)

    def demote(pk, token):
        barrier.wait()
        try:
            ApiClient(token).patch(f"/users/{pk}", {"is_staff": False})
        finally:
            connections.close_all()

    for _ in range(8):
        pairs = zip(tokens, reversed(tokens.values()), strict=True)  # each the other
        threads = [threading.Thread(target=demote, args=pair) for pair in pairs]
        [t.start() for t in threads]
        [t.join() for t in threads]

        with inside(fixtures.acme):
            assert User.objects.active().filter(is_staff=True).count() == 1
            User.objects.filter(pk__in=tokens).update(is_staff=True)


def test_unrevoked_token_of_inactive_user_is_refused(fixtures):
    """Each request checks that the user is active, however the user was deactivated."""
    client = ApiClient(token_of(fixtures.bob))
    with inside(fixtures.acme):
        User.objects.filter(pk=fixtures.bob.user.pk).update(is_active=False)

    assert client.get("/me").status_code == 401
