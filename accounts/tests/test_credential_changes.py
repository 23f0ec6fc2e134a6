"""A new password or e-mail needs the current password, and ends the user's other access."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.actions import users as user_actions
from accounts.models import User
from conftest import PASSWORD, ApiClient, sign_in_browser, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

NEW_PASSWORD = "another long passphrase"
NEW_EMAIL = "new@acme.example"
CHANGES = {"email": {"email": NEW_EMAIL}, "password": {"password": NEW_PASSWORD}}


@pytest.fixture(autouse=True)
def _without_mail(settings):
    """Without a mail server, a new e-mail takes effect at once. See test_email_changes.py."""
    settings.SENDS_MAIL = False


@pytest.fixture
def people(fixtures):
    """The fixtures, in which Boss and Ada have the password."""
    with inside(fixtures.acme):
        for actor in (fixtures.boss, fixtures.ada):
            user_actions.update_user(fixtures.boss, actor.user, password=PASSWORD)
            actor.user.refresh_from_db()
    return fixtures


def browser_of(people: Any, actor: Any) -> Client:
    browser = Client(SERVER_NAME="acme.localhost")
    with inside(people.acme):
        sign_in_browser(browser, User.objects.get(pk=actor.user.pk))
    return browser


def stored(people: Any, actor: Any) -> User:
    with inside(people.acme):
        return User.objects.get(pk=actor.user.pk)


def sign_in(email: str, password: str) -> int:
    body = {"email": email, "password": password, "tenant": "acme"}
    status: int = ApiClient().post("/auth/login", body).status_code
    return status


def assert_refused(r: Any, code: str) -> None:
    (error,) = r.json()["errors"]
    expected = (422, "#/current_password", code)
    assert (r.status_code, error["pointer"], error["code"]) == expected, r.content


# ---- the current password -----------------------------------------------------------------------

WRONG = [({}, "missing"), ({"current_password": "guess"}, "wrong_password")]


@pytest.mark.parametrize(("sent", "code"), WRONG)
@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize("change", CHANGES)
def test_administrator_changes_credentials_with_the_own_password_only(
    people, as_, method, change, sent, code
):
    boss, path, before = (
        as_(people.boss),
        f"/users/{people.ada.user.pk}",
        stored(people, people.ada),
    )

    assert_refused(getattr(boss, method)(path, CHANGES[change] | sent), code)
    assert_refused(boss.patch(f"{path}?dry_run=true", CHANGES[change] | sent), code)
    assert boss.plan("patch", path, CHANGES[change] | sent)["status"] == 422

    after = stored(people, people.ada)
    assert (after.email, after.password) == (before.email, before.password)
    body = CHANGES[change] | {"current_password": PASSWORD}
    assert getattr(boss, method)(path, body).status_code == 200


@pytest.mark.parametrize(("sent", "code"), WRONG)
def test_own_email_is_changed_with_the_password_only(people, as_, sent, code):
    ada = as_(people.ada)

    assert_refused(ada.patch("/me", {"email": NEW_EMAIL} | sent), code)
    assert stored(people, people.ada).email == "ada@acme.example"

    changed = ada.patch("/me", {"email": NEW_EMAIL, "current_password": PASSWORD})
    assert changed.json()["email"] == NEW_EMAIL
    assert "password" not in changed.json()


def test_user_without_a_password_cannot_change_the_email(people, as_):
    r = as_(people.bob).patch("/me", {"email": NEW_EMAIL, "current_password": ""})
    assert r.status_code == 422

    assert_refused(as_(people.bob).patch("/me", {"email": NEW_EMAIL}), "invalid")


@pytest.mark.parametrize(
    "body", [{"full_name": "Ada L."}, {"handle": "ada-l"}, {"email": "ADA@acme.example"}]
)
def test_other_values_need_no_password(people, as_, body):
    client = as_(people.ada)

    assert client.patch("/me", body).status_code == 200
    assert client.get("/me").status_code == 200
    boss = as_(people.boss)
    assert boss.patch(f"/users/{people.ada.user.pk}", {"full_name": "A"}).status_code == 200
    assert client.get("/me").status_code == 200


def test_email_of_an_agent_is_an_address_only(people, as_):
    path = f"/users/{people.bot.user.pk}"

    assert as_(people.boss).patch(path, {"email": "bot@acme.example"}).status_code == 200
    assert as_(people.bot).patch("/me", {"email": "b@acme.example"}).status_code == 200


# ---- other access -------------------------------------------------------------------------------


def change_own_email(people: Any, client: ApiClient, **more: Any) -> Any:
    return client.patch("/me", {"email": NEW_EMAIL, "current_password": PASSWORD} | more)


def change_own_password(people: Any, client: ApiClient, **more: Any) -> Any:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    return client.post("/me/password", body | more)


@pytest.mark.parametrize("way", [change_own_email, change_own_password])
@pytest.mark.parametrize("with_agents", [True, False])
def test_own_change_ends_other_sessions_and_tokens(people, as_, way, with_agents, events):
    with inside(people.acme):
        user_actions.update_user(people.boss, people.ada.user, is_staff=True)
    other, agent = as_(people.ada), as_(people.bot)
    browser, client = browser_of(people, people.ada), as_(people.ada)
    assert browser.get("/admin/").status_code == 200
    more = {"revoke_agent_tokens": True} if with_agents else {}

    r = way(people, client, **more)

    assert r.status_code in (200, 204), r.content
    assert (client.get("/me").status_code, other.get("/me").status_code) == (200, 401)
    assert agent.get("/me").status_code == (401 if with_agents else 200)
    assert browser.get("/admin/").status_code == 302
    recorded = events(people.acme, request_id=r.headers["X-Request-Id"])
    verbs = [f"{e.subject_type}.{e.verb}" for e in recorded]
    assert verbs[0] == "user.changed"
    assert set(verbs[1:]) == {"apitoken.revoked"}
    shown = str([e.changes for e in recorded])
    assert PASSWORD not in shown
    assert NEW_PASSWORD not in shown


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_agents", [True, False])
def test_change_by_an_administrator_ends_all_access_of_the_user(people, as_, change, with_agents):
    with inside(people.acme):
        user_actions.update_user(people.boss, people.ada.user, is_staff=True)
    tokens, agent, boss = [as_(people.ada), as_(people.ada)], as_(people.bot), as_(people.boss)
    browser = browser_of(people, people.ada)
    body = CHANGES[change] | {"current_password": PASSWORD, "revoke_agent_tokens": with_agents}

    assert boss.patch(f"/users/{people.ada.user.pk}", body).status_code == 200

    assert [client.get("/me").status_code for client in tokens] == [401, 401]
    assert agent.get("/me").status_code == (401 if with_agents else 200)
    assert browser.get("/admin/").status_code == 302
    assert boss.get("/me").status_code == 200
    email, password = stored(people, people.ada).email, body.get("password", PASSWORD)
    assert sign_in(str(email), password) == 200


def test_session_that_changes_its_own_email_stays(people):
    here, there = browser_of(people, people.boss), browser_of(people, people.boss)
    body = {"email": NEW_EMAIL, "current_password": PASSWORD}

    r = here.patch("/api/v1/me", body, content_type="application/json")

    assert r.status_code == 200, r.content
    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302


# ---- the admin ----------------------------------------------------------------------------------


def save_user(people: Any, browser: Client, actor: Any, **values: Any) -> Any:
    user = stored(people, actor)
    form = {
        "handle": user.handle, "full_name": user.full_name, "email": user.email, "password": "",
        "is_active": "on", "responsible": "", "row_version": user.version,
    }  # fmt: skip
    form |= {"is_staff": "on"} if user.is_staff else {}
    return browser.post(f"/admin/accounts/user/{user.pk}/change/", form | values)


@pytest.mark.parametrize("change", CHANGES)
def test_form_of_a_user_asks_for_the_own_password(people, as_, change):
    browser, token = browser_of(people, people.boss), as_(people.ada)
    before = stored(people, people.ada)

    for sent, sentence in (
        ({}, "Enter your current"),
        ({"current_password": "x"}, "not your current"),
    ):
        page = save_user(people, browser, people.ada, **CHANGES[change] | sent)
        assert page.status_code == 200
        assert sentence in page.content.decode()
    assert stored(people, people.ada).password == before.password
    assert stored(people, people.ada).email == before.email

    done = save_user(
        people, browser, people.ada, **CHANGES[change] | {"current_password": PASSWORD}
    )

    assert done.status_code == 302, done.content
    assert token.get("/me").status_code == 401
    assert browser.get("/admin/").status_code == 200


def test_form_of_a_user_needs_no_password_for_other_fields(people):
    browser = browser_of(people, people.boss)

    assert save_user(people, browser, people.ada, full_name="Ada L.").status_code == 302
    assert stored(people, people.ada).full_name == "Ada L."


def test_session_that_changes_its_own_row_in_the_admin_stays(people):
    here, there = browser_of(people, people.boss), browser_of(people, people.boss)
    values = {"email": NEW_EMAIL, "current_password": PASSWORD}

    assert save_user(people, here, people.boss, **values).status_code == 302

    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302


def own_password_page(browser: Client, **values: Any) -> Any:
    form = {
        "old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD,
    }  # fmt: skip
    return browser.post("/admin/password_change/", form | values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"old_password": "guess"}, "This is not your current password."),
        ({"new_password1": "12345678", "new_password2": "12345678"}, "too common"),
        ({"new_password2": "other"}, "match"),
        ({"old_password": ""}, "Enter or choose a value."),
    ],
)
def test_page_of_the_own_password_refuses_wrong_values(people, values, sentence):
    browser = browser_of(people, people.boss)

    page = own_password_page(browser, **values)

    assert page.status_code == 200
    assert sentence in page.content.decode()
    assert stored(people, people.boss).check_password(PASSWORD)
    assert browser.get("/admin/password_change/").status_code == 200


@pytest.mark.parametrize("with_agents", [True, False])
def test_page_of_the_own_password_records_the_change_and_ends_other_access(
    people, as_, events, with_agents
):
    with inside(people.acme):
        user_actions.update_user(people.boss, people.bot.user, responsible=people.boss.user)
    here, there = browser_of(people, people.boss), browser_of(people, people.boss)
    token, agent = as_(people.boss), as_(people.bot)
    count = len(events(people.acme))

    done = own_password_page(here, **({"revoke_agent_tokens": "on"} if with_agents else {}))

    assert done.headers["Location"] == "/admin/password_change/done/"
    recorded = events(people.acme)[count:]
    assert recorded[0].subject_type == "user"
    assert (recorded[0].via, recorded[0].changes) == ("admin", {"password": ["…", "…"]})
    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302
    assert token.get("/me").status_code == 401
    assert agent.get("/me").status_code == (401 if with_agents else 200)
    assert sign_in("boss@acme.example", NEW_PASSWORD) == 200


def test_token_of_the_request_survives_a_retry(people):
    """The response of a retry is the stored one, although the password is another one now."""
    client = ApiClient(token_of(people.ada))
    body = {"email": NEW_EMAIL, "current_password": PASSWORD}
    headers = {"Idempotency-Key": "k"}

    first, second = (client.patch("/me", body, headers=headers) for _ in range(2))

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["Idempotency-Replayed"] == "true"


def test_undo_restores_no_email_of_a_person(people, as_):
    boss, path = as_(people.boss), f"/users/{people.ada.user.pk}"
    body = {"email": NEW_EMAIL, "current_password": PASSWORD}
    request_id = boss.patch(path, body).headers["X-Request-Id"]

    r = boss.post("/undo", {"request_id": request_id})

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    assert "current_password" in r.json()["detail"]
    assert stored(people, people.ada).email == NEW_EMAIL
    bots = f"/users/{people.bot.user.pk}"
    boss.patch(bots, {"email": "a@acme.example"})
    request_id = boss.patch(bots, {"email": "b@acme.example"}).headers["X-Request-Id"]
    assert boss.post("/undo", {"request_id": request_id}).status_code == 200
