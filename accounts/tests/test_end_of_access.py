"""Deactivating a user ends the user's access, and that of the agents the user is responsible for."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.actions import tokens as token_actions
from accounts.actions import users as user_actions
from accounts.models import ApiToken, User, UserKind
from conftest import PASSWORD, ApiClient, Fixtures, build_fixtures, token_of
from taskflow.audit.actor import Actor, TokenScope
from taskflow.tenancy import inside
from taskflow.tests.concurrency import call_during

pytestmark = pytest.mark.one_database


def sign_in(email: str) -> Client:
    client = Client(SERVER_NAME="acme.localhost")
    r = client.post("/admin/login/?next=/admin/", {"username": email, "password": PASSWORD})
    assert r.status_code == 302, r.content
    return client


class Leaver:
    """Gus, who is about to be deactivated, and Helper, an agent Gus is responsible for."""

    def __init__(self, fixtures: Fixtures, boss: ApiClient) -> None:
        self.fixtures, self.boss = fixtures, boss
        body = {"email": "gus@acme.example", "handle": "gus", "is_staff": True}
        made = boss.post("/users", body, headers={"X-Request-Id": "made"}).json()
        self.pk, self.path = made["id"], f"/users/{made['id']}"
        with inside(fixtures.acme):
            self.user = User.objects.get(pk=self.pk)
            self.agent = user_actions.create_user(
                fixtures.boss, kind=UserKind.AGENT, handle="helper", responsible=self.user
            )
            other = user_actions.create_user(
                fixtures.boss, kind=UserKind.AGENT, handle="other", responsible=fixtures.boss.user
            )
        self.own = self.client_of(self.user)
        self.agents = self.client_of(self.agent)
        self.others = [self.client_of(other), self.client_of(fixtures.bob.user)]

    def client_of(self, user: User) -> ApiClient:
        return ApiClient(token_of(Actor(user, self.fixtures.acme)))

    def live_tokens(self) -> int:
        with inside(self.fixtures.acme):
            live = ApiToken.objects.live(timezone.now())
            return live.filter(user__in=[self.pk, self.agent.pk]).count()

    def set_active(self, is_active: bool) -> None:
        """Change the column without an action, so that no token is revoked."""
        with inside(self.fixtures.acme):
            User.objects.filter(pk=self.pk).update(is_active=is_active)


@pytest.fixture
def leaver(fixtures, as_):
    return Leaver(fixtures, as_(fixtures.boss))


def by_patch(leaver: Leaver) -> Any:
    return leaver.boss.patch(leaver.path, {"is_active": False})


def by_put(leaver: Leaver) -> Any:
    return leaver.boss.put(leaver.path, {"is_active": False, "full_name": "Gus"})


def by_offboarding(leaver: Leaver) -> Any:
    return leaver.boss.post(f"{leaver.path}/offboarding", {})


def by_undo_of_the_creation(leaver: Leaver) -> Any:
    return leaver.boss.post("/undo", {"request_id": "made"})


def by_undo_of_the_activation(leaver: Leaver) -> Any:
    leaver.set_active(False)
    leaver.boss.patch(leaver.path, {"is_active": True}, headers={"X-Request-Id": "again"})
    return leaver.boss.post("/undo", {"request_id": "again"})


def by_erasure(leaver: Leaver) -> Any:
    leaver.set_active(False)
    return leaver.boss.post(f"{leaver.path}/erasure")


def staff_session(leaver: Leaver) -> Client:
    with inside(leaver.fixtures.acme):
        user_actions.update_user(leaver.fixtures.boss, leaver.fixtures.boss.user, password=PASSWORD)
    leaver.boss = ApiClient(token_of(leaver.fixtures.boss))
    return sign_in("boss@acme.example")


def by_form_of_the_admin(leaver: Leaver) -> Any:
    form = {"kind": "human", "handle": "gus", "full_name": "", "email": "gus@acme.example"}
    page = f"/admin/accounts/user/{leaver.pk}/change/"
    return staff_session(leaver).post(page, form | {"is_staff": "on", "responsible": ""})


def by_action_of_the_admin(leaver: Leaver) -> Any:
    body = {"action": "deactivate", "_selected_action": [leaver.pk]}
    return staff_session(leaver).post("/admin/accounts/user/", body)


WAYS = [
    by_patch,
    by_put,
    by_offboarding,
    by_undo_of_the_creation,
    by_undo_of_the_activation,
    by_erasure,
    by_form_of_the_admin,
    by_action_of_the_admin,
]


@pytest.mark.parametrize("way", WAYS)
def test_tokens_stay_revoked_after_any_deactivation(leaver, way):
    r = way(leaver)

    assert r.status_code in (200, 302), r.content
    assert leaver.live_tokens() == 0
    with inside(leaver.fixtures.acme):
        assert not User.objects.get(pk=leaver.pk).is_active
        assert not User.objects.get(pk=leaver.agent.pk).is_active
        User.objects.filter(pk__in=[leaver.pk, leaver.agent.pk]).update(is_active=True)
    assert [client.get("/me").status_code for client in (leaver.own, leaver.agents)] == [401, 401]
    assert [client.get("/me").status_code for client in leaver.others] == [200, 200]


def reactivate_by_patch(leaver: Leaver, request_id: str) -> Any:
    return leaver.boss.patch(leaver.path, {"is_active": True})


def reactivate_by_admin(leaver: Leaver, request_id: str) -> Any:
    body = {"action": "activate", "_selected_action": [leaver.pk]}
    return staff_session(leaver).post("/admin/accounts/user/", body)


def reactivate_by_undo(leaver: Leaver, request_id: str) -> Any:
    return leaver.boss.post("/undo", {"request_id": request_id})


@pytest.mark.parametrize("way_back", [reactivate_by_patch, reactivate_by_admin, reactivate_by_undo])
@pytest.mark.parametrize("way", [by_patch, by_offboarding])
def test_activated_user_and_agents_begin_without_tokens_and_sessions(leaver, way, way_back):
    with inside(leaver.fixtures.acme):
        user_actions.update_user(leaver.fixtures.boss, leaver.user, password=PASSWORD)
        others_for_agent, _ = token_actions.create_token(
            leaver.fixtures.boss, name="b", scope=TokenScope.READ, user=leaver.agent
        )
    session = sign_in("gus@acme.example")
    request_id = way(leaver).headers["X-Request-Id"]

    assert way_back(leaver, request_id).status_code in (200, 302)

    with inside(leaver.fixtures.acme):
        assert User.objects.get(pk=leaver.pk).is_active
        is_undo = way_back is reactivate_by_undo  # which takes all of the request back
        assert User.objects.get(pk=leaver.agent.pk).is_active == is_undo
        User.objects.filter(pk=leaver.agent.pk).update(is_active=True)
        assert not ApiToken.objects.get(pk=others_for_agent.pk).is_live
    assert leaver.live_tokens() == 0
    assert [c.get("/me").status_code for c in (leaver.own, leaver.agents)] == [401, 401]
    assert session.get("/admin/").status_code == 302


def test_activating_ends_what_an_earlier_deactivation_has_left(leaver):
    """An older version did not revoke these tokens, or an import has brought them."""
    leaver.set_active(False)
    assert leaver.live_tokens() == 2

    assert leaver.boss.patch(leaver.path, {"is_active": True}).status_code == 200

    assert leaver.live_tokens() == 0


def test_agent_of_a_deactivated_user_is_not_activated(leaver):
    leaver.boss.patch(leaver.path, {"is_active": False})
    path = f"/users/{leaver.agent.pk}"

    refused = leaver.boss.patch(path, {"is_active": True})
    handed_over = leaver.boss.patch(path, {"is_active": True, "responsible": "@boss"})

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "Choose another responsible user" in refused.json()["detail"]
    assert (handed_over.status_code, handed_over.json()["is_active"]) == (200, True)


@pytest.mark.parametrize("way", [by_patch, by_offboarding, by_undo_of_the_creation])
def test_deactivation_records_the_revocation_of_each_token(leaver, way, events):
    r = way(leaver)

    recorded = events(leaver.fixtures.acme, request_id=r.headers["X-Request-Id"])
    assert [e.subject_type for e in recorded if e.verb == "revoked"] == ["apitoken", "apitoken"]


def test_plan_of_a_deactivation_lists_the_tokens_and_keeps_them(leaver):
    plan = leaver.boss.plan("patch", leaver.path, {"is_active": False})

    revoked = [e for e in plan["events"] if e["verb"] == "apitoken.revoked"]
    assert (len(revoked), leaver.live_tokens()) == (2, 2)


def test_agents_handed_over_by_offboarding_keep_their_tokens(leaver):
    body = {"hand_over_to": leaver.fixtures.boss.user.pk}

    r = leaver.boss.post(f"{leaver.path}/offboarding", body)

    assert (r.status_code, r.json()["tokens_revoked"]) == (200, 1)
    assert leaver.own.get("/me").status_code == 401
    assert leaver.agents.get("/me").json()["responsible_id"] == leaver.fixtures.boss.user.pk


@pytest.mark.slow
def test_undoing_an_offboarding_revokes_the_tokens_of_the_agents(leaver, events):
    """After the undo, a deactivated user is responsible for the agent again."""
    body = {"hand_over_to": leaver.fixtures.boss.user.pk}
    leaver.boss.post(f"{leaver.path}/offboarding", body)
    handed = [e.pk for e in events(leaver.fixtures.acme, verb="handed_over", subject_type="user")]

    assert leaver.boss.post("/undo", {"event_ids": handed}).status_code == 200

    assert leaver.live_tokens() == 0


def test_an_agent_of_a_deactivated_user_is_refused_even_with_a_live_token(leaver):
    leaver.set_active(False)

    assert leaver.agents.get("/me").status_code == 401
    leaver.set_active(True)
    assert leaver.agents.get("/me").status_code == 200


@pytest.mark.parametrize("route", ["create", "rotate"])
def test_an_agent_of_a_deactivated_user_gets_no_token(leaver, route):
    with inside(leaver.fixtures.acme):
        token = ApiToken.objects.get(user=leaver.agent.pk).pk
    leaver.set_active(False)

    if route == "create":
        r = leaver.boss.post("/tokens", {"name": "x", "user_id": leaver.agent.pk})
    else:
        r = leaver.boss.post(f"/tokens/{token}/rotation")

    assert (r.status_code, r.json()["code"]) == (409, "conflict")
    assert "(@gus) is deactivated" in r.json()["detail"]


def test_a_deactivated_user_cannot_become_responsible_for_an_agent(leaver):
    leaver.set_active(False)
    new = {"kind": "agent", "handle": "new", "responsible_id": leaver.pk}

    made = leaver.boss.post("/users", new)
    changed = leaver.boss.patch(
        f"/users/{leaver.fixtures.bot.user.pk}", {"responsible_id": leaver.pk}
    )

    for r in (made, changed):
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/responsible_id")


@pytest.mark.parametrize("way", [by_patch, by_offboarding, by_undo_of_the_activation])
@pytest.mark.slow
def test_admin_session_of_a_reactivated_user_stays_ended(leaver, way):
    with inside(leaver.fixtures.acme):
        user = User.objects.get(pk=leaver.pk)
        user_actions.update_user(leaver.fixtures.boss, user, password=PASSWORD)
    session = sign_in("gus@acme.example")
    assert session.get("/admin/").status_code == 200

    assert way(leaver).status_code == 200

    leaver.set_active(True)
    assert session.get("/admin/").status_code == 302
    assert sign_in("gus@acme.example").get("/admin/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_token_created_during_the_deactivation_of_its_user_is_revoked():
    fixtures = build_fixtures()
    boss = ApiClient(token_of(fixtures.boss))

    r = call_during(
        fixtures.acme,
        lambda: token_actions.create_token(
            fixtures.boss, name="x", scope=TokenScope.READ, user=User.objects.get(handle="bot")
        ),
        lambda: boss.patch(f"/users/{fixtures.bot.user.pk}", {"is_active": False}),
    )

    assert r.status_code == 200
    with inside(fixtures.acme):
        assert not ApiToken.objects.live(timezone.now()).filter(user=fixtures.bot.user).exists()
