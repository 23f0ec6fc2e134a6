"""A created or rotated token has no wider scope, no more projects and no later expiry."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.utils import timezone

from accounts.actions import tokens as token_actions
from accounts.actions import users as user_actions
from accounts.models import ApiToken
from conftest import PASSWORD, ApiClient, Fixtures, token_of
from taskflow.audit.actor import Actor, TokenScope
from taskflow.http.errors import Conflict, Forbidden
from taskflow.tenancy import inside
from tasks.tests.factories import ProjectFactory

pytestmark = pytest.mark.one_database

DAYS = [None, 1, 29, 31, 3650]


def actor_with(
    fixtures: Fixtures, scope: TokenScope, days: int | None, projects: list[int] | None
) -> Actor:
    ends = days and timezone.now() + timedelta(days=days)
    token, _text = token_actions.issue_token(
        fixtures.boss, fixtures.ada.user, "creator", scope, ends or None, projects
    )
    bound = None if projects is None else tuple(projects)
    return Actor(fixtures.ada.user, fixtures.acme, scope=scope, project_ids=bound, token=token)


def is_within(created: ApiToken, creator: ApiToken) -> bool:
    order = list(TokenScope)
    shows = creator.project_ids is None or (
        created.project_ids is not None and set(created.project_ids) <= set(creator.project_ids)
    )
    lasts = creator.expires_at is None or (
        created.expires_at is not None and created.expires_at <= creator.expires_at
    )
    return (
        order.index(TokenScope(created.scope)) <= order.index(TokenScope(creator.scope))
        and shows
        and lasts
    )


@pytest.mark.parametrize("days", [None, 30])
@pytest.mark.parametrize("count", [None, 1, 2])
@pytest.mark.parametrize("scope", TokenScope)
def test_created_token_has_no_more_rights_than_its_creator(fixtures, scope, count, days):
    created, refused = [], 0
    first, second, third = (ProjectFactory(actor=fixtures.ada).pk for _ in range(3))
    projects = count and [first, second][:count]
    with inside(fixtures.acme):
        creator = actor_with(fixtures, scope, days, projects)
        combinations = product(
            TokenScope, [None, [first], [second], [first, second], [third]], DAYS
        )
        for scope_of_new, projects_of_new, days_of_new in combinations:
            try:
                created.append(
                    token_actions.create_token(
                        creator,
                        name="x",
                        scope=scope_of_new,
                        project_ids=projects_of_new,
                        expires_in_days=days_of_new,
                    )[0]
                )
            except Forbidden:
                refused += 1

    assert bool(created) == (projects is None)  # a token bound to projects creates none
    assert all(is_within(token, creator.token) for token in created)
    assert refused > 0 or (scope, count, days) == (TokenScope.ADMIN, None, None)


@pytest.mark.parametrize("days", [None, 30])
@pytest.mark.parametrize("is_bound", [False, True])
@pytest.mark.parametrize("scope", TokenScope)
def test_rotated_token_has_no_more_rights_than_the_token_that_rotates(
    fixtures, scope, is_bound, days
):
    first, second = (ProjectFactory(actor=fixtures.ada).pk for _ in range(2))
    with inside(fixtures.acme):
        creator = actor_with(fixtures, scope, days, [first] if is_bound else None)
        others = [
            actor_with(fixtures, scope_of_new, days_of_new, projects_of_new).token
            for scope_of_new, projects_of_new, days_of_new in product(
                TokenScope, [None, [first], [second]], [None, 10, 3650]
            )
        ]
        created, before = [], copy(creator.token)
        for token in [*others, creator.token]:
            try:
                created.append(token_actions.rotate_token(creator, token)[0])
            except (Conflict, Forbidden):  # a conflict where no project is left
                continue

    assert created
    assert all(is_within(token, before) for token in created)


def test_default_expiry_of_a_token_is_at_most_that_of_its_creator(fixtures, as_):
    ends = timezone.now() + timedelta(days=5)
    short = as_(fixtures.ada, expires_at=ends)

    r = short.post("/tokens", {"name": "x"})

    assert (r.status_code, datetime.fromisoformat(r.json()["expires_at"])) == (201, ends)


def test_creating_a_token_that_expires_later_is_refused(fixtures, as_):
    short = as_(fixtures.ada, expires_at=datetime(2099, 1, 1, tzinfo=UTC))

    assert short.post("/tokens", {"name": "x", "expires_in_days": 365}).status_code == 201
    short = as_(fixtures.ada, expires_at=timezone.now() + timedelta(days=5))
    r = short.post("/tokens", {"name": "x", "expires_in_days": 6})

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    assert "cannot expire later than the token that creates it" in r.json()["detail"]


def test_rotation_does_not_extend_the_expiry(fixtures, as_):
    ends = timezone.now() + timedelta(days=5)
    client = as_(fixtures.ada, expires_at=ends)
    for _ in range(3):
        own = client.get("/tokens").json()["data"][0]["id"]
        r = client.post(f"/tokens/{own}/rotation")
        assert datetime.fromisoformat(r.json()["expires_at"]) <= ends
        client = ApiClient(r.json()["token"])


def sign_in_as_ada(fixtures: Fixtures) -> Any:
    with inside(fixtures.acme):
        user_actions.update_user(fixtures.boss, fixtures.ada.user, password=PASSWORD)
    body = {"email": "ada@acme.example", "password": PASSWORD, "tenant": "acme"}
    return ApiClient().post("/auth/login", body).json()


def test_sign_in_token_can_create_tokens_that_expire_later(fixtures):
    client = ApiClient(sign_in_as_ada(fixtures)["token"])

    created = client.post("/tokens", {"name": "ci", "expires_in_days": 3650})

    assert created.status_code == 201
    later = timezone.now() + timedelta(days=3640)
    assert datetime.fromisoformat(created.json()["expires_at"]) > later


def test_rotated_sign_in_token_cannot_create_tokens_that_expire_later(fixtures):
    client = ApiClient(sign_in_as_ada(fixtures)["token"])
    own = client.get("/tokens").json()["data"][0]["id"]

    successor = ApiClient(client.post(f"/tokens/{own}/rotation").json()["token"])

    body = {"name": "sign-in", "expires_in_days": 60}
    assert successor.post("/tokens", body).status_code == 403


def test_token_named_sign_in_has_no_rights_of_a_sign_in_token(fixtures, as_):
    short = as_(fixtures.ada, expires_at=timezone.now() + timedelta(days=5))
    created = ApiClient(
        short.post("/tokens", {"name": "sign-in", "scope": "admin"}).json()["token"]
    )

    assert created.post("/tokens", {"name": "x", "expires_in_days": 6}).status_code == 403


def test_admin_session_can_create_tokens_with_any_expiry(fixtures):
    with inside(fixtures.acme):
        user_actions.update_user(fixtures.boss, fixtures.boss.user, password=PASSWORD)
    client = ApiClient(SERVER_NAME="acme.localhost")
    client.post(
        "/admin/login/",
        f"username=boss@acme.example&password={PASSWORD}",
        content_type="application/x-www-form-urlencoded",
    )

    r = client.post("/tokens", {"name": "x", "expires_in_days": 3650, "scope": "admin"})

    assert r.status_code == 201


def test_bound_token_cannot_create_or_revoke_tokens_of_others(fixtures, as_):
    """Not even of an agent its user is responsible for, nor by an administrator."""
    bot = ApiClient(token_of(fixtures.bot))
    theirs = bot.get("/tokens").json()["data"][0]["id"]

    for who in (fixtures.ada, fixtures.boss):
        bound = as_(who, project_ids=[fixtures.apollo.pk])
        body = {"name": "x", "user_id": fixtures.bot.user.pk, "project_ids": [fixtures.apollo.pk]}
        assert bound.post("/tokens", body).status_code == 403
        assert bound.post(f"/tokens/{theirs}/rotation").status_code == 404
        assert bound.delete(f"/tokens/{theirs}").status_code == 404
    assert bot.get("/me").status_code == 200


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_bound_token_cannot_rotate_or_revoke_another_token_of_its_user(fixtures, as_, verb):
    other = as_(fixtures.ada)
    pk = other.get("/tokens").json()["data"][0]["id"]
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])

    if verb == "rotate":
        assert bound.post(f"/tokens/{pk}/rotation").status_code == 404
    else:
        assert bound.delete(f"/tokens/{pk}").status_code == 404

    with inside(fixtures.acme):
        bound_actor = actor_with(fixtures, TokenScope.ADMIN, None, [fixtures.apollo.pk])
        token = ApiToken.objects.select_related("user").get(pk=pk)
        act = token_actions.rotate_token if verb == "rotate" else token_actions.revoke_token
        with pytest.raises(Forbidden):
            act(bound_actor, token)


def test_bound_token_cannot_change_the_password(fixtures, as_):
    """A new password would revoke the other tokens of its user."""
    sign_in_as_ada(fixtures)
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])
    body = {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"}

    r = bound.post("/me/password", body)

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    assert as_(fixtures.ada).post("/me/password", body).status_code == 204


def test_bound_token_shows_its_user_and_the_members_of_its_projects(fixtures, as_):
    def handles(client: ApiClient) -> set[str]:
        return {user["handle"] for user in client.get("/users").json()["data"]}

    members = {"ada", "carl", "bob", "bot"}
    projects = [fixtures.apollo.pk]
    assert handles(as_(fixtures.ada, project_ids=projects)) == members
    assert handles(as_(fixtures.boss, project_ids=projects)) == members | {"boss"}
    assert handles(as_(fixtures.eve, project_ids=projects)) == {"eve"}  # who sees no project
    assert handles(as_(fixtures.ada, project_ids=[fixtures.secret.pk])) == {"ada"}
    bound = as_(fixtures.ada, project_ids=projects)
    assert bound.get(f"/users/{fixtures.bob.user.pk}").status_code == 200
    assert bound.get(f"/users/{fixtures.eve.user.pk}").status_code == 404
    assert bound.get("/tasks?assignee=@eve").status_code == 422
    assert bound.get("/tasks?assignee=@bob").status_code == 200


def test_users_that_a_bound_token_does_not_show_cannot_be_named(fixtures, as_):
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])

    problems = [
        bound.post(
            "/tokens", {"name": "x", "user_id": pk, "project_ids": [fixtures.apollo.pk]}
        ).json()
        for pk in (fixtures.eve.user.pk, fixtures.mallory.user.pk, 999_999)
    ]

    assert {(a["status"], a["errors"][0]["code"]) for a in problems} == {(422, "unknown_reference")}
