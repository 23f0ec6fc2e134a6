"""Sessions: the sign-ins of a person, of browsers and of programs. Listing and ending them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Session, User
from conftest import PASSWORD, ApiClient, new_tenant, person, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


@pytest.fixture
def ada(boss):
    with inside(boss.tenant):
        return person(boss, "ada", PASSWORD)


def sign_in(email: str = "boss@acme.example", agent: str = "curl/8") -> ApiClient:
    r = ApiClient().post(
        "/auth/login", {"email": email, "password": PASSWORD}, headers={"User-Agent": agent}
    )
    return ApiClient(r.json()["token"])


def open_browser(email: str = "boss@acme.example", agent: str = "Firefox/140") -> Client:
    browser = Client(headers={"User-Agent": agent})
    r = browser.post("/admin/login/", {"username": email, "password": PASSWORD})
    assert r.status_code == 302
    return browser


def is_open(browser: Client) -> bool:
    return browser.get("/admin/").status_code == 200


def listed(client: ApiClient) -> list[dict[str, object]]:
    return client.get("/sessions").json()["data"]


def age(session_id: object, tenant: object, **columns: timedelta) -> None:
    """Set times of a session to so long ago."""
    with inside(tenant):
        values = {name: timezone.now() - ago for name, ago in columns.items()}
        Session.objects.filter(pk=session_id).update(**values)


# ---- listing ------------------------------------------------------------------------------------


def test_list_has_browsers_and_programs_with_what_identifies_them(boss):
    client = sign_in()
    open_browser()

    browser, program = listed(client)

    assert (browser["kind"], browser["user_agent"]) == ("browser", "Firefox/140")
    assert (program["kind"], program["user_agent"]) == ("token", "curl/8")
    assert [s["is_current"] for s in (browser, program)] == [False, True]
    assert browser["address"] == "127.0.0.1"
    assert browser.keys() == program.keys()


def test_session_of_a_browser_is_current_in_its_own_requests(boss):
    sign_in()
    browser = open_browser()

    sessions = browser.get("/api/v1/sessions").json()["data"]

    assert [(s["kind"], s["is_current"]) for s in sessions] == [("browser", True), ("token", False)]


def test_list_shows_neither_other_users_nor_ended_sessions(boss, ada):
    sign_in("ada@acme.example").post("/auth/logout")
    kept = sign_in("ada@acme.example")
    sign_in()
    ApiClient(token_of(ada))  # a token of another purpose is no session

    assert len(listed(kept)) == 1


def test_ids_and_columns_are_no_secrets(boss):
    browser = open_browser()
    key = browser.cookies["taskflow_session"].value

    text = browser.get("/api/v1/sessions").content.decode()

    assert key not in text
    with inside(boss.tenant):
        assert key not in str(list(Session.objects.values()))
        assert Session.objects.get().credentials not in text


@pytest.mark.parametrize("agent", ["", "a\x07b", "x" * 5000, "Ünïcode", "a\u202eb"])
def test_any_user_agent_is_stored_short_or_not_at_all(boss, agent):
    client = sign_in(agent=agent.encode("utf-8", "replace").decode("latin-1"))

    (session,) = listed(client)

    assert len(session["user_agent"]) <= 200
    assert session["user_agent"].isprintable()


# ---- ending -------------------------------------------------------------------------------------


def test_ended_session_of_a_program_has_no_token_any_more(boss):
    own, other = sign_in(), sign_in()
    other_id = next(s["id"] for s in listed(own) if not s["is_current"])

    assert own.delete(f"/sessions/{other_id}").status_code == 204

    assert other.get("/me").status_code == 401
    assert [s["is_current"] for s in listed(own)] == [True]
    assert own.delete(f"/sessions/{other_id}").status_code == 404


def test_ended_session_of_a_browser_leads_to_the_sign_in_page(boss):
    own, browser = sign_in(), open_browser()
    browser_id = next(s["id"] for s in listed(own) if s["kind"] == "browser")

    assert own.delete(f"/sessions/{browser_id}").status_code == 204

    assert not is_open(browser)
    assert browser.get("/api/v1/me").status_code == 401
    browser.post("/admin/login/", {"username": "boss@acme.example", "password": PASSWORD})
    assert is_open(browser), "the same browser may sign in again"


def test_all_other_sessions_end_at_once_and_the_own_one_stays(boss):
    own, other, browser = sign_in(), sign_in(), open_browser()

    assert own.delete("/sessions/others").status_code == 204

    assert (own.get("/me").status_code, other.get("/me").status_code) == (200, 401)
    assert not is_open(browser)
    assert len(listed(own)) == 1


def test_ending_is_recorded_and_no_undo_brings_the_session_back(boss, ada):
    own, other = sign_in(), sign_in()
    r = own.delete("/sessions/others", headers={"X-Reason": "lost laptop"})
    with inside(boss.tenant):
        ended = Event.objects.filter(request_id=r.headers["X-Request-Id"])
        assert [(e.subject_type, e.verb) for e in ended.order_by("pk")] == [
            ("apitoken", "revoked"),
            ("session", "ended"),
        ]

    own.post("/undo", {"request_id": r.headers["X-Request-Id"], "on_conflict": "skip"})

    assert other.get("/me").status_code == 401
    assert len(listed(own)) == 1


def test_dry_run_ends_nothing(boss):
    own, other = sign_in(), sign_in()

    assert own.delete("/sessions/others?dry_run=true").status_code == 204

    assert other.get("/me").status_code == 200


def test_session_of_another_user_is_not_found(boss, ada):
    own, theirs = sign_in(), sign_in("ada@acme.example")
    (session,) = listed(theirs)

    assert own.delete(f"/sessions/{session['id']}").status_code == 404

    assert theirs.get("/me").status_code == 200


def test_administrator_ends_the_sessions_of_a_user(boss, ada):
    theirs, own = sign_in("ada@acme.example"), sign_in()
    token = ApiClient(token_of(ada))

    assert own.delete("/users/@ada/sessions").status_code == 204
    assert theirs.get("/me").status_code == 401
    assert token.get("/me").status_code == 200, "other tokens are ended in /tokens"
    assert token.delete("/users/@boss/sessions").status_code == 403


@pytest.mark.parametrize("way", ["password", "administrator", "deactivated"])
def test_password_change_and_deactivation_end_the_sessions(boss, way):
    own, browser, other = sign_in(), open_browser(), sign_in()
    with inside(boss.tenant):
        helper = person(boss, "helper", PASSWORD)
        User.objects.filter(pk=helper.user.pk).update(is_staff=True)
    staff = ApiClient(token_of(helper))
    change = {"current_password": PASSWORD, "new_password": f"another {PASSWORD}"}

    by_staff = {"current_password": PASSWORD, "password": f"another {PASSWORD}"}

    r = {
        "password": lambda: own.post("/me/password", change),
        "administrator": lambda: staff.patch("/users/@boss", by_staff),
        "deactivated": lambda: staff.patch("/users/@boss", {"is_active": False}),
    }[way]()

    assert r.status_code in (200, 204), r.content
    assert (other.get("/me").status_code, is_open(browser)) == (401, False)
    if way == "password":
        assert [s["is_current"] for s in listed(own)] == [True]


def test_sign_out_ends_the_session(boss):
    own, browser = sign_in(), open_browser()
    assert len(listed(own)) == 2

    browser.post("/admin/logout/")

    assert [s["kind"] for s in listed(own)] == ["token"]
    with inside(boss.tenant):
        assert Session.objects.get(token=None).ended_at is not None


def test_operator_in_another_tenant_signs_out(boss):
    platform = new_tenant("platform", "root", PASSWORD)
    with inside(platform.tenant):
        User.objects.filter(pk=platform.user.pk).update(is_superuser=True)
    browser = Client(SERVER_NAME="platform.localhost")
    browser.post("/admin/login/", {"username": "root@platform.example", "password": PASSWORD})
    chosen = {"action": "work_here", "_selected_action": [boss.tenant.pk]}
    assert browser.post("/admin/accounts/tenant/", chosen).status_code == 302

    browser.post("/admin/logout/")

    with inside(platform.tenant):
        assert Session.objects.get().ended_at is not None
    assert not is_open(browser)


# ---- inactivity and lifetime --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "is_live"),
    [
        ({"last_used_at": timedelta(hours=1, minutes=59)}, True),
        ({"last_used_at": timedelta(hours=2, seconds=1)}, False),
        ({"expires_at": timedelta(seconds=1)}, False),
    ],
)
def test_session_of_a_browser_ends_without_use_and_after_its_lifetime(boss, columns, is_live):
    client, browser = sign_in(), open_browser()
    with inside(boss.tenant):
        session = Session.objects.get(token=None)
    age(session.pk, boss.tenant, **columns)

    assert (len(listed(client)) == 2) == is_live
    assert is_open(browser) == is_live
    assert (browser.get("/api/v1/me").status_code == 200) == is_live


def test_settings_have_documented_defaults(settings):
    assert timedelta(hours=2) == settings.SESSION_IDLE
    assert timedelta(hours=12) == settings.SESSION_LIFETIME
    assert settings.SESSION_COOKIE_AGE == 12 * 3600


def test_use_of_a_browser_is_stored_at_most_every_five_minutes(boss):
    browser = open_browser()
    with inside(boss.tenant):
        session = Session.objects.get()

    with CaptureQueriesContext(connection) as captured:
        assert is_open(browser)
    assert not [q for q in captured.captured_queries if "UPDATE" in q["sql"].upper()[:20]]
    age(session.pk, boss.tenant, last_used_at=timedelta(minutes=6))
    assert is_open(browser)

    with inside(boss.tenant):
        used = Session.objects.get().last_used_at
    assert timezone.now() - used < timedelta(minutes=1)


def test_session_without_its_row_is_worth_nothing(boss):
    """As those that an earlier version has stored."""
    browser = open_browser()
    with inside(boss.tenant):
        Session.objects.all().forget(boss.user)

    assert not is_open(browser)
