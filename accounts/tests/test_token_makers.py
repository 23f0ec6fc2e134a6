"""A token gives no more than its user and who created it have now, and says who that was."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.actions import users as user_actions
from accounts.actions.tenants import create_operator
from accounts.actions.tokens import create_token, revoke_token, rotate_token
from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient, sign_in_browser, token_of
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Via
from taskflow.http.errors import Forbidden
from taskflow.tenancy import inside
from tasks.actions.members import add_member, change_role
from tasks.actions.pages import create_page
from tasks.models import ProjectMember, Role
from tasks.tests.factories import ProjectFactory

pytestmark = pytest.mark.one_database


def issued_to_bot(maker: ApiClient, fixtures: Any, **more: Any) -> ApiClient:
    r = maker.post("/tokens", {"name": "b", "scope": "admin", "user": "@bot"} | more)
    assert r.status_code == 201, r.content
    return ApiClient(r.json()["token"])


# ---- for whom -----------------------------------------------------------------------------------


def admin_form(fixtures: Any, user: User) -> Any:
    browser = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)
    data = {"user": user.pk, "name": "ci", "scope": "read", "expires_in_days": "30"}
    return browser.post("/admin/accounts/apitoken/add/", data)


def test_administrator_cannot_create_a_token_for_another_person(fixtures, as_):
    boss, bob = as_(fixtures.boss), fixtures.bob.user

    created = boss.post("/tokens", {"name": "x", "user": "@bob"})
    planned = boss.plan("post", "/tokens", {"name": "x", "user": "@bob"})
    page = admin_form(fixtures, bob)

    assert (created.status_code, created.json()["code"]) == (403, "forbidden")
    assert "Only Bob (@bob) can create tokens for Bob (@bob)" in created.json()["detail"]
    assert planned["status"] == 403
    assert "Only Bob (@bob) can create tokens" in page.content.decode()
    with inside(fixtures.acme):
        assert not ApiToken.objects.filter(user=bob).exists()


def test_administrator_revokes_but_does_not_rotate_the_token_of_another_person(fixtures, as_):
    bob = ApiClient(token_of(fixtures.bob))
    token = bob.get("/tokens").json()["data"][0]["id"]
    boss = as_(fixtures.boss)

    assert boss.post(f"/tokens/{token}/rotation").status_code == 403
    browser = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)
    data = {"action": "rotate", "_selected_action": [token]}
    page = browser.post("/admin/accounts/apitoken/", data, follow=True)
    assert "Only Bob (@bob) can create tokens" in page.content.decode()
    with inside(fixtures.acme):
        assert ApiToken.objects.filter(user=fixtures.bob.user).count() == 1
    assert boss.delete(f"/tokens/{token}").status_code == 204


def test_person_does_not_become_an_agent(fixtures, as_):
    """Whoever could change it would create tokens for the person."""
    with inside(fixtures.acme):
        bob = User.objects.get(pk=fixtures.bob.user.pk)
        browser = Client(SERVER_NAME="acme.localhost")
        sign_in_browser(browser, fixtures.boss.user)
        form = {
            "kind": "agent", "handle": "bob", "full_name": "Bob", "email": bob.email,
            "is_active": "on", "responsible": "", "row_version": bob.version,
        }  # fmt: skip
    browser.post(f"/admin/accounts/user/{bob.pk}/change/", form)

    changed = as_(fixtures.boss).patch(f"/users/{bob.pk}", {"kind": "agent"})

    assert changed.status_code == 422
    with inside(fixtures.acme):
        assert User.objects.get(pk=bob.pk).kind == "human"


def test_operator_creates_and_rotates_no_token_in_a_tenant(fixtures, as_):
    """The row of the operator is in another tenant, so that the token would outlive it."""
    operator = create_operator(email="op@x.example", full_name="Op", password=PASSWORD)
    actor = Actor(operator, fixtures.acme, via=Via.ADMIN)
    issued_to_bot(as_(fixtures.ada), fixtures)

    with inside(fixtures.acme):
        token = ApiToken.objects.get(name="b")
        with pytest.raises(Forbidden, match="Operators create no tokens"):
            create_token(actor, name="x", scope=TokenScope.READ, user=fixtures.bot.user)
        with pytest.raises(Forbidden, match="Operators create no tokens"):
            rotate_token(actor, token)
        assert not revoke_token(actor, token).is_live


# ---- who created it -----------------------------------------------------------------------------


@pytest.mark.parametrize("maker", ["boss", "ada"])
def test_token_of_an_agent_and_its_events_name_who_created_it(fixtures, as_, maker, events):
    maker = getattr(fixtures, maker)
    bot = issued_to_bot(as_(maker), fixtures)

    (token,) = (t for t in bot.get("/tokens").json()["data"] if t["name"] == "b")
    bot.patch("/tasks/APO-1", {"title": "By bot"})
    (event, *_) = as_(fixtures.ada).get("/tasks/APO-1/events").json()["data"]

    assert token["issued_by_id"] == maker.user.pk
    assert event["token_issued_by_id"] == maker.user.pk
    assert event["token_issued_by"]["handle"] == maker.user.handle
    assert (event["on_behalf_of_id"], event["on_behalf_of"]) == (None, None)
    assert f"with a token from {maker.user}" in event["sentence"]
    (created,) = events(fixtures.acme, subject_type="apitoken", subject_id=token["id"])
    assert created.changes["issued_by"] == [None, maker.user.pk]


def test_plan_with_such_a_token_shows_who_created_it(fixtures, as_):
    bot = issued_to_bot(as_(fixtures.ada), fixtures)

    plan = bot.plan("patch", "/tasks/APO-1", {"title": "By bot"})

    assert plan["events"][0]["token_issued_by"]["handle"] == "ada"


def test_header_alone_says_on_whose_behalf(fixtures, as_):
    bot = issued_to_bot(as_(fixtures.boss), fixtures)

    bot.patch("/tasks/APO-1", {"title": "x"}, headers={"X-On-Behalf-Of": "@ada"})

    (event, *_) = as_(fixtures.ada).get("/tasks/APO-1/events").json()["data"]
    assert (event["on_behalf_of"]["handle"], event["token_issued_by"]["handle"]) == ("ada", "boss")


def test_own_tokens_name_nobody(fixtures, as_):
    bob = as_(fixtures.bob)

    token = bob.post("/tokens", {"name": "x"}).json()
    bob.patch("/tasks/APO-1", {"title": "x"})

    assert token["issued_by_id"] is None
    (event, *_) = bob.get("/tasks/APO-1/events").json()["data"]
    assert event["token_issued_by_id"] is None


@pytest.mark.parametrize("route", ["create", "rotate"])
def test_token_that_an_agent_creates_keeps_who_created_its_own(fixtures, as_, route):
    bot = issued_to_bot(as_(fixtures.ada), fixtures)
    own = bot.get("/tokens").json()["data"][0]["id"]

    if route == "create":
        r = bot.post("/tokens", {"name": "next", "scope": "read"})
    else:
        r = bot.post(f"/tokens/{own}/rotation")

    assert (r.status_code, r.json()["issued_by_id"]) == (201, fixtures.ada.user.pk)


def test_who_rotates_the_token_of_an_agent_is_who_created_the_new_one(fixtures, as_):
    issued_to_bot(as_(fixtures.boss), fixtures)
    token = as_(fixtures.ada).get("/tokens").json()["data"]
    (old,) = (t["id"] for t in token if t["issued_by_id"] == fixtures.boss.user.pk)

    r = as_(fixtures.ada).post(f"/tokens/{old}/rotation")

    assert r.json()["issued_by_id"] == fixtures.ada.user.pk


def test_page_of_a_token_shows_who_created_it(fixtures, as_):
    issued_to_bot(as_(fixtures.ada), fixtures)
    browser = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)
        token = ApiToken.objects.get(name="b")

    page = browser.get(f"/admin/accounts/apitoken/{token.pk}/change/").content.decode()

    assert "Issued by" in page
    assert str(fixtures.ada.user) in page


# ---- no more than who created it ----------------------------------------------------------------


def test_token_shows_only_projects_that_its_maker_sees_now(fixtures, as_):
    carls = ProjectFactory(actor=fixtures.carl, name="Carls", key="CAR")
    with inside(fixtures.acme):
        add_member(fixtures.carl, carls, user=fixtures.bot.user)
    of_ada = issued_to_bot(as_(fixtures.ada), fixtures)
    of_boss = issued_to_bot(as_(fixtures.boss), fixtures)

    assert of_ada.get("/projects/CAR").status_code == 404
    assert of_ada.get("/projects/APO").status_code == 200
    assert of_ada.post("/tasks", {"project": "CAR", "title": "x"}).status_code == 422
    assert [p["key"] for p in of_ada.get("/projects").json()["data"]] == ["APO"]
    assert of_boss.get("/projects/CAR").status_code == 200


@pytest.mark.parametrize("is_bound", [True, False])
def test_token_loses_the_project_that_its_maker_has_lost(fixtures, as_, is_bound):
    with inside(fixtures.acme):
        user_actions.update_user(fixtures.boss, fixtures.bot.user, responsible=fixtures.bob.user)
    more = {"projects": ["APO"]} if is_bound else {}
    bot = issued_to_bot(as_(fixtures.bob), fixtures, **more)
    assert bot.get("/tasks/APO-1").status_code == 200
    members = as_(fixtures.ada).get("/projects/APO/members").json()["data"]
    (membership,) = (m["id"] for m in members if m["user"]["handle"] == "bob")

    assert as_(fixtures.ada).delete(f"/members/{membership}").status_code == 204

    assert bot.get("/tasks/APO-1").status_code == 404
    assert bot.get("/tasks").json()["data"] == []
    assert bot.patch("/tasks/APO-1", {"title": "x"}).status_code == 404
    assert bot.get("/search?q=launch").json()["data"] == []


def test_token_of_a_former_administrator_shows_what_this_user_sees(fixtures, as_):
    with inside(fixtures.acme):
        second = user_actions.create_user(
            fixtures.boss, email="second@acme.example", is_staff=True, handle="second"
        )
    bot = issued_to_bot(as_(Actor(second, fixtures.acme)), fixtures)
    assert bot.get("/projects/APO").status_code == 200

    as_(fixtures.boss).patch(f"/users/{second.pk}", {"is_staff": False})

    assert bot.get("/projects/APO").status_code == 404


def test_agent_keeps_the_projects_that_it_owns(fixtures, as_):
    bot = issued_to_bot(as_(fixtures.ada), fixtures)

    created = bot.post("/projects", {"name": "Bots", "key": "BOT"})

    assert created.status_code == 201
    assert bot.post("/tasks", {"project": "BOT", "title": "x"}).status_code == 201
    assert bot.get("/projects/BOT").json()["name"] == "Bots"


def deactivate_by_patch(fixtures: Any, boss: ApiClient, pk: int) -> Any:
    return boss.patch(f"/users/{pk}", {"is_active": False})


def deactivate_by_offboarding(fixtures: Any, boss: ApiClient, pk: int) -> Any:
    return boss.post(f"/users/{pk}/offboarding", {"hand_over_to": fixtures.boss.user.pk})


@pytest.mark.parametrize("way", [deactivate_by_patch, deactivate_by_offboarding])
@pytest.mark.parametrize("is_responsible", [True, False])
def test_token_ends_with_its_maker_and_stays_ended(fixtures, as_, way, is_responsible):
    """Also where the agent is handed over: the maker knows the text of the token."""
    with inside(fixtures.acme):
        maker = user_actions.create_user(
            fixtures.boss, email="m@acme.example", is_staff=True, handle="m", password=PASSWORD
        )
        if is_responsible:
            user_actions.update_user(fixtures.boss, fixtures.bot.user, responsible=maker)
    bot = issued_to_bot(as_(Actor(maker, fixtures.acme)), fixtures)
    others = issued_to_bot(as_(fixtures.boss), fixtures)
    boss = as_(fixtures.boss)

    assert way(fixtures, boss, maker.pk).status_code == 200

    assert bot.get("/me").status_code == 401
    with inside(fixtures.acme):
        assert not ApiToken.objects.live(timezone.now()).filter(issued_by=maker).exists()
    assert boss.patch(f"/users/{maker.pk}", {"is_active": True}).status_code == 200
    assert bot.get("/me").status_code == 401
    if way is deactivate_by_offboarding or not is_responsible:
        assert others.get("/me").status_code == 200


def test_token_of_a_deactivated_maker_is_refused_even_if_it_is_live(fixtures, as_):
    with inside(fixtures.acme):
        second = user_actions.create_user(
            fixtures.boss, email="second@acme.example", is_staff=True, handle="second"
        )
    bot = issued_to_bot(as_(Actor(second, fixtures.acme)), fixtures)
    with inside(fixtures.acme):
        User.objects.filter(pk=second.pk).update(is_active=False)

    assert bot.get("/me").status_code == 401


def test_rotation_leaves_out_projects_that_are_not_visible_any_more(fixtures, as_):
    other = ProjectFactory(actor=fixtures.ada, name="Other", key="OTH")
    client = as_(fixtures.ada, project_ids=[fixtures.apollo.pk, other.pk, 999_999])
    own = client.get("/tokens").json()["data"][0]["id"]
    assert as_(fixtures.ada).delete("/projects/OTH").status_code == 204

    r = client.post(f"/tokens/{own}/rotation")

    assert (r.status_code, r.json()["project_ids"]) == (201, [fixtures.apollo.pk])
    client = ApiClient(r.json()["token"])
    assert as_(fixtures.ada).delete("/projects/APO").status_code == 204
    own = client.get("/tokens").json()["data"][0]["id"]
    assert client.post(f"/tokens/{own}/rotation").status_code == 409


def test_scope_of_the_fixture_is_admin(fixtures, as_):
    """Otherwise the tests above would be refused for another reason."""
    assert issued_to_bot(as_(fixtures.ada), fixtures).get("/me").json()["scope"] == TokenScope.ADMIN


# ---- no larger role than who created it ---------------------------------------------------------


@pytest.fixture
def managing_bot(fixtures):
    """An agent that is an admin of Apollo, and that Bob, a member, is responsible for."""
    with inside(fixtures.acme):
        user_actions.update_user(fixtures.boss, fixtures.bot.user, responsible=fixtures.bob.user)
        membership = ProjectMember.objects.get(user=fixtures.bot.user)
        change_role(fixtures.ada, membership, role=Role.ADMIN)
        draft = create_page(fixtures.ada, fixtures.apollo, title="Draft")
    return {"draft": draft.pk, "membership": membership.pk}


def test_token_gives_no_larger_role_than_its_maker_has(fixtures, as_, managing_bot):
    of_bob = issued_to_bot(as_(fixtures.bob), fixtures)
    as_(fixtures.boss).patch("/projects/APO", {"description": "By boss"})
    (event, *_) = of_bob.get("/projects/APO/events").json()["data"]

    refused = [
        of_bob.patch("/projects/APO", {"name": "N"}),
        of_bob.post("/projects/APO/members", {"user": "@eve"}),
        of_bob.post("/undo", {"event_ids": [event["id"]]}),
        of_bob.patch(f"/members/{managing_bot['membership']}", {"role": "member"}),
    ]

    assert [r.status_code for r in refused] == [403] * 4
    assert "who created your token is not" in refused[0].json()["detail"]
    assert of_bob.get(f"/pages/{managing_bot['draft']}").status_code == 404
    assert of_bob.patch("/tasks/APO-1", {"title": "By bot"}).status_code == 200


@pytest.mark.parametrize("maker", ["ada", "boss"])
def test_token_gives_the_role_of_its_user_if_its_maker_has_it_too(
    fixtures, as_, managing_bot, maker
):
    with inside(fixtures.acme):
        user_actions.update_user(fixtures.boss, fixtures.bot.user, responsible=fixtures.ada.user)
    bot = issued_to_bot(as_(getattr(fixtures, maker)), fixtures)

    assert bot.patch("/projects/APO", {"name": "N"}).status_code == 200
    assert bot.get(f"/pages/{managing_bot['draft']}").status_code == 200


def test_agent_keeps_its_role_in_the_projects_that_it_owns(fixtures, as_):
    bot = issued_to_bot(as_(fixtures.ada), fixtures)
    assert bot.post("/projects", {"name": "Bots", "key": "BOT"}).status_code == 201

    assert bot.patch("/projects/BOT", {"name": "N"}).status_code == 200
