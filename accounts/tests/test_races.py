"""Rules about users, tokens and members are checked on locked rows, not on rows read before.

Each test starts a request while another transaction, which changes what the rule reads, is open.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.actions.tokens import issue_token, revoke_all, revoke_token
from accounts.actions.users import update_user
from accounts.models import ApiToken, User, UserKind
from conftest import PASSWORD, ApiClient, Fixtures, build_fixtures, token_of
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from taskflow.tests.concurrency import call_during

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
OTHER_PASSWORD = "battery staple horse"


@pytest.fixture
def live() -> Fixtures:
    return build_fixtures()


@pytest.fixture
def boss(live: Fixtures) -> ApiClient:
    return ApiClient(token_of(live.boss))


def new_token(live: Fixtures, user: User | None = None) -> ApiToken:
    """A token of Bob."""
    with inside(live.acme):
        expires_at = timezone.now() + timedelta(days=9)
        scope = TokenScope.ADMIN
        token, _ = issue_token(live.boss, user or live.bob.user, "old", scope, expires_at)
    return token


def live_names(live: Fixtures, user: User) -> list[str]:
    with inside(live.acme):
        tokens = ApiToken.objects.live(timezone.now()).filter(user=user)
        return list(tokens.order_by("pk").values_list("name", flat=True))


def stored(live: Fixtures, user: User) -> User:
    with inside(live.acme):
        return User.objects.get(pk=user.pk)


def update(live: Fixtures, user: User, **values: Any) -> Any:
    """Return a function that changes the user. It reads the row again, as another request would."""
    return lambda: update_user(live.boss, User.objects.get(pk=user.pk), **values)


# ---- tokens -------------------------------------------------------------------------------------


def test_rotating_a_token_that_is_being_revoked_is_refused(live, boss):
    token = new_token(live, live.bot.user)

    r = call_during(
        live.acme,
        lambda: revoke_token(live.boss, ApiToken.objects.get(pk=token.pk)),
        lambda: boss.post(f"/tokens/{token.pk}/rotation"),
    )

    assert (r.status_code, live_names(live, live.bot.user)) == (409, [])


def test_creating_a_token_with_a_token_that_is_being_revoked_is_refused(live):
    bob = ApiClient(token_of(live.bob))

    r = call_during(
        live.acme,
        lambda: revoke_all(live.boss, live.bob.user),
        lambda: bob.post("/tokens", {"name": "new"}),
    )

    assert (r.status_code, live_names(live, live.bob.user)) == (401, [])


def test_creating_a_token_while_the_password_is_changed_is_refused(live):
    bob = ApiClient(token_of(live.bob))

    r = call_during(
        live.acme,
        update(live, live.bob.user, password=PASSWORD),
        lambda: bob.post("/tokens", {"name": "new"}),
    )

    assert (r.status_code, live_names(live, live.bob.user)) == (401, [])


def test_signing_in_with_a_password_that_is_being_changed_is_refused(live):
    with inside(live.acme):
        update(live, live.bob.user, password=PASSWORD)()
    body = {"email": "bob@acme.example", "password": PASSWORD, "tenant": "acme"}

    r = call_during(
        live.acme,
        update(live, live.bob.user, password=OTHER_PASSWORD),
        lambda: ApiClient().post("/auth/login", body),
    )

    assert (r.status_code, live_names(live, live.bob.user)) == (401, [])


def test_former_responsible_user_cannot_create_agent_token(live):
    ada = ApiClient(token_of(live.ada))

    r = call_during(
        live.acme,
        update(live, live.bot.user, responsible=live.boss.user),
        lambda: ada.post("/tokens", {"name": "new", "user_id": live.bot.user.pk}),
    )

    assert (r.status_code, live_names(live, live.bot.user)) == (403, [])


def test_revoking_a_token_twice_at_once_is_recorded_once(live, boss):
    token = new_token(live)

    r = call_during(
        live.acme,
        lambda: revoke_token(live.boss, ApiToken.objects.get(pk=token.pk)),
        lambda: boss.delete(f"/tokens/{token.pk}"),
    )

    assert r.status_code == 204
    with inside(live.acme):
        assert Event.objects.filter(subject_type="apitoken", verb="revoked").count() == 1


# ---- users --------------------------------------------------------------------------------------


def test_erasing_a_user_who_is_being_activated_is_refused(live, boss):
    with inside(live.acme):
        update(live, live.bob.user, is_active=False)()

    r = call_during(
        live.acme,
        update(live, live.bob.user, is_active=True),
        lambda: boss.post(f"/users/{live.bob.user.pk}/erasure"),
    )

    assert (r.status_code, stored(live, live.bob.user).full_name) == (409, "Bob")


def test_changing_a_password_that_is_being_replaced_is_refused(live):
    with inside(live.acme):
        update(live, live.bob.user, password=PASSWORD)()
    bob = ApiClient(token_of(live.bob))
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD + " 2"}

    r = call_during(
        live.acme,
        update(live, live.bob.user, password=OTHER_PASSWORD),
        lambda: bob.post("/me/password", body),
    )

    assert r.status_code in (401, 422)
    assert stored(live, live.bob.user).check_password(OTHER_PASSWORD)


@pytest.mark.parametrize("is_new", [True, False])
def test_naming_a_user_who_is_being_deactivated_as_responsible_is_refused(live, boss, is_new):
    body = {"responsible_id": live.bob.user.pk}
    new = body | {"kind": "agent", "handle": "new"}

    r = call_during(
        live.acme,
        update(live, live.bob.user, is_active=False),
        lambda: (
            boss.post("/users", new) if is_new else boss.patch(f"/users/{live.bot.user.pk}", body)
        ),
    )

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/responsible_id")
    with inside(live.acme):
        assert not User.objects.filter(responsible=live.bob.user, kind=UserKind.AGENT).exists()
