"""The sign-in of the admin in two steps, and the command that resets a second factor."""

from __future__ import annotations

import html
import re
import time

import pyotp
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import SecondFactor, Tenant, User
from conftest import PASSWORD, ApiClient, new_tenant, person, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

FORM = {"username": "boss@acme.example", "password": PASSWORD}
PAGES = ("/admin/", "/admin/accounts/user/", "/admin/tasks/task/")


def code_of(secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * steps)


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


@pytest.fixture
def factor(boss):
    """The secret and the recovery codes of Boss. The previous time step is used."""
    client = ApiClient(token_of(boss))
    secret = client.post("/me/second-factor", {"current_password": PASSWORD}).json()["secret"]
    r = client.post("/me/second-factor/confirmation", {"otp": code_of(secret)})
    with inside(boss.tenant):
        SecondFactor.objects.update(last_step=0)
    return secret, r.json()["recovery_codes"]


@pytest.fixture
def browser(boss):
    return Client()


def require(tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(second_factor_required=True)


def assert_not_signed_in(browser: Client) -> None:
    for page in PAGES:
        assert browser.get(page).url.startswith("/admin/login/")
    assert browser.get("/api/v1/me").status_code == 401


def test_user_without_a_second_factor_is_signed_in_by_the_password(browser):
    r = browser.post("/admin/login/?next=/admin/tasks/task/", FORM)

    assert (r.status_code, r.url) == (302, "/admin/tasks/task/")
    assert browser.get("/admin/").status_code == 200


def test_password_alone_grants_nothing(factor, browser):
    r = browser.post("/admin/login/?next=/admin/tasks/task/", FORM)

    assert (r.status_code, r.url) == (302, "/admin/login/code/")
    assert browser.get("/admin/login/code/").status_code == 200
    assert_not_signed_in(browser)


@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_right_code_signs_in_and_leads_to_the_page(factor, browser, kind):
    secret, codes = factor
    browser.post("/admin/login/?next=/admin/tasks/task/", FORM)

    r = browser.post("/admin/login/code/", {"otp": code_of(secret) if kind == "app" else codes[0]})

    assert (r.status_code, r.url) == (302, "/admin/tasks/task/")
    assert browser.get("/admin/").status_code == 200


def test_page_of_another_site_is_not_opened_after_the_code(factor, browser):
    browser.post("/admin/login/?next=https://evil.example/", FORM)

    r = browser.post("/admin/login/code/", {"otp": code_of(factor[0])})

    assert "evil" not in r.url


def test_after_five_wrong_codes_the_password_is_asked_for_again(factor, browser):
    browser.post("/admin/login/", FORM)

    answers = [browser.post("/admin/login/code/", {"otp": "000000"}) for _ in range(5)]

    assert [r.status_code for r in answers] == [200, 200, 200, 200, 302]
    assert browser.post("/admin/login/code/", {"otp": code_of(factor[0])}).url == "/admin/login/"
    assert_not_signed_in(browser)


def test_first_step_is_valid_for_five_minutes(factor, browser, monkeypatch):
    browser.post("/admin/login/", FORM)
    later = time.time() + 301
    monkeypatch.setattr("accounts.admin.sign_in.time.time", lambda: later)

    r = browser.post("/admin/login/code/", {"otp": pyotp.TOTP(factor[0]).at(int(later))})

    assert r.url == "/admin/login/"
    assert_not_signed_in(browser)


@pytest.mark.parametrize("change", ["password", "is_active"])
def test_first_step_ends_with_the_password_and_the_access(boss, factor, browser, change):
    browser.post("/admin/login/", FORM)
    with inside(boss.tenant):
        value = "another" if change == "password" else False
        User.objects.filter(pk=boss.user.pk).update(**{change: value})

    r = browser.post("/admin/login/code/", {"otp": code_of(factor[0])})

    assert r.url == "/admin/login/"
    assert_not_signed_in(browser)


def test_first_step_of_one_tenant_is_worth_nothing_at_another(factor, browser):
    new_tenant("globex", "mallory", PASSWORD)
    browser.post("/admin/login/", FORM)

    r = browser.post(
        "/admin/login/code/", {"otp": code_of(factor[0])}, SERVER_NAME="globex.localhost"
    )

    assert r.url == "/admin/login/"


def test_key_of_the_session_changes_at_both_steps(factor, browser):
    browser.get("/admin/login/")
    keys = [browser.cookies.get("taskflow_session")]
    for path, form in (("", FORM), ("code/", {"otp": code_of(factor[0])})):
        browser.post(f"/admin/login/{path}", form)
        keys.append(browser.cookies["taskflow_session"].value)

    assert len(set(keys)) == 3


def test_required_second_factor_is_enrolled_before_anything_else(boss, browser):
    require(boss.tenant)

    r = browser.post("/admin/login/", FORM)

    assert r.url == "/admin/login/enrolment/"
    assert_not_signed_in(browser)
    assert browser.get("/admin/login/code/").url == "/admin/login/", "there is no code yet"
    browser.post("/admin/login/", FORM)
    assert browser.get("/admin/login/enrolment/").status_code == 200
    assert browser.head("/admin/login/enrolment/").status_code == 200
    with inside(boss.tenant):
        assert not SecondFactor.objects.exists(), "looking at the page begins nothing"
    page = browser.post("/admin/login/enrolment/").content.decode()
    assert "<svg" in page
    secret = re.search(r">([A-Z2-7]{32})<", page)[1]
    wrong = browser.post("/admin/login/enrolment/", {"otp": "000000"}).content.decode()
    assert secret in wrong, "a wrong code changes nothing"
    assert_not_signed_in(browser)
    done = browser.post("/admin/login/enrolment/", {"otp": code_of(secret)}).content.decode()
    codes = re.findall(r"<code>([A-Z2-7-]{19})</code>", done)
    assert len(codes) == 10
    assert browser.get("/admin/").status_code == 200
    assert html.unescape(done).count("not shown again")


def test_pages_with_secrets_are_neither_compressed_nor_stored(boss, browser):
    require(boss.tenant)
    browser.post("/admin/login/", FORM)

    r = browser.post("/admin/login/enrolment/", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in r.headers
    assert "no-store" in r.headers["Cache-Control"]


def test_enrolment_page_is_closed_to_whoever_has_a_second_factor(boss, factor, browser):
    """Otherwise the password alone could replace it."""
    require(boss.tenant)
    browser.post("/admin/login/", FORM)

    for method in (browser.get, browser.post):
        assert method("/admin/login/enrolment/").url == "/admin/login/"
    with inside(boss.tenant):
        assert SecondFactor.objects.get().is_confirmed


# ---- a member, who is no administrator ----------------------------------------------------------


@pytest.fixture
def member_form(boss):
    with inside(boss.tenant):
        person(boss, "ada", PASSWORD)
    return {"username": "ada@acme.example", "password": PASSWORD}


def enrol_on_the_page(browser: Client) -> tuple[str, list[str]]:
    """Enrol a second factor on “My account”. Return its secret and its recovery codes."""
    page = browser.post(
        "/admin/account/", {"action": "begin", "factor-current_password": PASSWORD}
    ).content.decode()
    secret = re.search(r">([A-Z2-7]{32})<", page)[1]
    confirmation = {"action": "confirm", "otp": code_of(secret)}
    page = browser.post("/admin/account/", confirmation).content.decode()
    return secret, re.findall(r"<code>([A-Z2-7-]{19})</code>", page)


def test_member_enrols_on_the_page_and_signs_in_with_a_code(boss, member_form, browser):
    browser.post("/admin/login/", member_form)
    secret, codes = enrol_on_the_page(browser)
    assert len(codes) == 10
    again = Client()

    step = again.post("/admin/login/?next=/admin/tasks/task/", member_form)
    assert step.url == "/admin/login/code/"
    assert_not_signed_in(again)
    reused = again.post("/admin/login/code/", {"otp": code_of(secret)})
    assert reused.status_code == 200, "the code of the confirmation is used up"
    signed_in = again.post("/admin/login/code/", {"otp": code_of(secret, 1)})

    assert (signed_in.status_code, signed_in.url) == (302, "/admin/tasks/task/")
    assert again.get("/admin/tasks/task/").status_code == 200
    assert again.get("/admin/account/").status_code == 200
    assert again.get("/admin/accounts/tenant/").status_code == 403


def test_recovery_code_signs_a_member_in_once(boss, member_form, browser):
    browser.post("/admin/login/", member_form)
    _secret, codes = enrol_on_the_page(browser)
    answers = []
    for _attempt in range(2):
        again = Client()
        again.post("/admin/login/", member_form)
        answers.append(again.post("/admin/login/code/", {"otp": codes[0]}).status_code)

    assert answers == [302, 200]


def test_member_with_a_second_factor_signs_in_to_the_api_with_a_code_only(boss, member_form):
    browser = Client()
    browser.post("/admin/login/", member_form)
    secret, codes = enrol_on_the_page(browser)
    body = {"email": "ada@acme.example", "password": PASSWORD}
    api = ApiClient()

    without = api.post("/auth/login", body)
    wrong = api.post("/auth/login", body | {"otp": "000000"})
    right = api.post("/auth/login", body | {"otp": code_of(secret, 1)})
    recovered = api.post("/auth/login", body | {"otp": codes[0]})

    assert (without.status_code, without.json()["code"]) == (401, "second_factor_required")
    assert wrong.status_code == 401
    assert (right.status_code, recovered.status_code) == (200, 200)
    me = ApiClient(right.json()["token"]).get("/me").json()
    assert (me["handle"], me["is_staff"]) == ("ada", False)


def test_tenant_that_requires_a_second_factor_of_administrators_asks_no_member(
    boss, member_form, browser
):
    require(boss.tenant)

    r = browser.post("/admin/login/?next=/admin/tasks/task/", member_form)

    assert (r.status_code, r.url) == (302, "/admin/tasks/task/")
    _secret, codes = enrol_on_the_page(browser)
    removal = {"action": "remove", "factor-current_password": PASSWORD}
    assert len(codes) == 10
    assert browser.post("/admin/account/", removal).url == "/admin/account/"
    with inside(boss.tenant):
        assert not SecondFactor.objects.exists()


# ---- the operator's command ---------------------------------------------------------------------


def test_operator_resets_a_lost_second_factor(boss, factor, browser, events, capsys):
    call_command("reset_second_factor", "acme", "Boss@acme.example")

    assert browser.post("/admin/login/", FORM).url == "/admin/"
    last = events(boss.tenant, subject_type="secondfactor")[-1]
    assert (last.verb, last.via, last.actor_id) == ("reset", "command", None)
    assert "removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tenant", "email", "text"),
    [
        ("nobody", "boss@acme.example", "no tenant"),
        ("acme", "nobody@acme.example", "no user"),
        ("acme", "boss@acme.example", "has no second factor"),
    ],
)
def test_command_says_what_is_missing(boss, tenant, email, text):
    with pytest.raises(CommandError, match=text):
        call_command("reset_second_factor", tenant, email)


def test_wrong_password_and_a_deactivated_user_get_one_sentence(boss, browser):
    with inside(boss.tenant):
        bob = person(boss, "bob", PASSWORD)
        User.objects.filter(pk=bob.user.pk).update(is_active=False)
    attempts = [("boss@acme.example", "wrong"), ("bob@acme.example", PASSWORD)]

    pages = [
        browser.post("/admin/login/", {"username": email, "password": password}).content.decode()
        for email, password in attempts
    ]

    for page in pages:
        assert page.count("The e-mail or the password is wrong, or the user is deactivated.") == 1
        assert "Please correct" not in page
        assert "case-sensitive" not in page
        assert "Forgotten your password?" in page
