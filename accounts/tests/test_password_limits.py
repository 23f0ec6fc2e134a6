"""Passwords cannot be guessed without limit, and nobody can be locked out for ever."""

from __future__ import annotations

import json
import logging

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client

from accounts import passwords
from accounts.actions.users import change_password, create_user
from accounts.limits import AttemptCounter
from accounts.models import User
from accounts.tests.test_limits import Clock
from conftest import PASSWORD, ApiClient, new_tenant, person
from taskflow.audit.actor import Actor
from taskflow.http.errors import TooManyAttempts
from taskflow.logging import JsonFormatter
from taskflow.tenancy import inside

HOME, ELSEWHERE = "203.0.113.7", "198.51.100.1"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("accounts.limits.time", clock)
    return clock


@pytest.fixture
def ada(db, clock):
    boss = new_tenant("acme", "boss", PASSWORD)
    with inside(boss.tenant):
        return person(boss, "ada", PASSWORD)


@pytest.fixture
def hashes(monkeypatch):
    """hashes() returns how many passwords were hashed so far."""
    encode, done = MD5PasswordHasher.encode, []
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda self, *a: done.append(1) or encode(self, *a)
    )
    return lambda: len(done)


def login(password="wrong", email="ada@acme.example", address=HOME):
    return ApiClient(REMOTE_ADDR=address).post(
        "/auth/login", {"email": email, "password": password}
    )


def statuses(count, **values):
    return [login(**values).status_code for _ in range(count)]


def admin_login(password="wrong", email="boss@acme.example", address=HOME, client=None):
    client = client or Client(REMOTE_ADDR=address, SERVER_NAME="acme.localhost")
    return client.post("/admin/login/", {"username": email, "password": password})


# ---- the limit ----------------------------------------------------------------------------------


def test_sixth_wrong_password_gets_429_and_is_not_hashed(ada, clock, hashes):
    assert statuses(5) == [401] * 5
    before = hashes()

    r = login(PASSWORD)

    assert (r.status_code, r.json()["code"]) == (429, "too_many_attempts")
    assert r["Retry-After"] == "12"
    assert "Wait 12 seconds" in r.json()["detail"]
    assert hashes() == before
    clock.seconds += 12
    assert login(PASSWORD).status_code == 200


@pytest.mark.parametrize("email", ["ada@acme.example", "ADA@acme.example", "nobody@acme.example"])
def test_unknown_account_is_limited_as_a_known_one(ada, email):
    responses = [login(email=email) for _ in range(7)]

    assert [r.status_code for r in responses] == [401] * 5 + [429] * 2
    assert login(email=email.lower(), address=ELSEWHERE).status_code == 429


def test_one_address_cannot_try_many_accounts(ada):
    emails = [f"user{n}@acme.example" for n in range(6)]

    assert [login(email=email).status_code for email in emails] == [401] * 5 + [429]
    assert login(email=emails[5], address=ELSEWHERE).status_code == 401


def test_network_of_an_ipv6_client_is_one_address(ada):
    addresses = [f"2001:db8:1:2::{n}" for n in range(6)]

    tried = [login(email=f"u{n}@acme.example", address=a) for n, a in enumerate(addresses)]

    assert [r.status_code for r in tried] == [401] * 5 + [429]


def test_header_of_a_client_does_not_change_its_address(ada):
    client = ApiClient(REMOTE_ADDR=HOME)
    body = {"email": "ada@acme.example", "password": "wrong"}

    tried = [
        client.post("/auth/login", body, headers={"X-Forwarded-For": f"6.6.6.{n}"})
        for n in range(6)
    ]

    assert [r.status_code for r in tried] == [401] * 5 + [429]


def test_right_passwords_are_not_limited(ada):
    assert statuses(12, password=PASSWORD) == [200] * 12


def test_success_does_not_reset_the_attempts_at_other_accounts(ada):
    tried = [
        (login(email=f"user{n}@acme.example").status_code, login(PASSWORD).status_code)
        for n in range(6)
    ]

    assert [guess for guess, _ in tried] == [401] * 5 + [429]
    assert {own for _, own in tried} == {200}


@pytest.mark.slow
def test_attacker_elsewhere_does_not_lock_the_owner_out_of_known_addresses(ada, clock):
    assert login(PASSWORD, address=HOME).status_code == 200
    attackers = [f"198.51.100.{n}" for n in range(8)]
    for _ in range(3):
        guesses = {login(address=address).status_code for address in attackers}
        assert 429 in guesses
        assert login(PASSWORD, address=HOME).status_code == 200
        clock.seconds += 3600

    [login(address=address) for address in attackers]
    assert login(PASSWORD, address="192.0.2.1").status_code == 429  # a new address waits
    clock.seconds += 180  # as long as the attack lasts, at most one attempt in three minutes
    assert login(PASSWORD, address="192.0.2.1").status_code == 200


def test_account_whose_email_looks_alike_makes_no_address_known_for_another(ada):
    """Its owner could otherwise try passwords of the other account from many addresses."""
    with inside(ada.tenant):
        boss = Actor(User.objects.get(handle="boss"), ada.tenant)
        for handle, domain in (("victim", "strasse.example"), ("double", "straße.example")):
            create_user(boss, email=f"eve@{domain}", handle=handle, password=PASSWORD)
    victim = "eve@strasse.example"
    assert login(PASSWORD, "eve@straße.example", ELSEWHERE).status_code == 200

    assert statuses(5, email=victim, address="198.51.100.2") == [401] * 5

    assert login(PASSWORD, victim, ELSEWHERE).status_code == 429


def test_address_that_was_proved_otherwise_is_known(ada):
    [login(address=f"198.51.100.{n}") for n in range(10)]
    assert login(PASSWORD, address="192.0.2.1").status_code == 429

    passwords.remember_address(ada.tenant, "ada@acme.example", "192.0.2.1")

    assert login(PASSWORD, address="192.0.2.1").status_code == 200


def test_tenants_do_not_share_the_limits_of_accounts(ada):
    mallory = new_tenant("globex", "mallory", PASSWORD)
    body = {"email": "ada@acme.example", "password": "x", "tenant": "globex"}
    for n in range(5):
        ApiClient(REMOTE_ADDR=f"198.51.100.{n}").post("/auth/login", body)

    assert login(PASSWORD).status_code == 200
    assert mallory


# ---- every place that checks a password ---------------------------------------------------------


def test_admin_shows_a_sentence_and_answers_429(ada, hashes):
    assert [admin_login().status_code for _ in range(5)] == [200] * 5
    before = hashes()

    r = admin_login(PASSWORD)

    assert (r.status_code, r["Retry-After"]) == (429, "12")
    assert "There were too many wrong passwords" in r.content.decode()
    assert hashes() == before


def test_admin_and_api_share_the_limits(ada):
    [admin_login(email="ada@acme.example") for _ in range(5)]

    assert login(PASSWORD).status_code == 429


def test_change_of_password_is_limited(ada):
    client = ApiClient(login(PASSWORD).json()["token"], REMOTE_ADDR=HOME)
    body = {"current_password": "wrong", "new_password": "new battery 77"}

    tried = [client.post("/me/password", body) for _ in range(6)]
    right = client.post("/me/password", body | {"current_password": PASSWORD})

    assert [r.status_code for r in tried] == [422] * 5 + [429]
    assert (right.status_code, right["Retry-After"]) == (429, "12")


@pytest.mark.parametrize("way", ["dry run", "plan"])
def test_rolled_back_request_counts_all_the_same(ada, way):
    client = ApiClient(login(PASSWORD).json()["token"], REMOTE_ADDR=HOME)
    body = {"current_password": "wrong", "new_password": "new battery 77"}
    for _ in range(5):
        if way == "plan":
            assert client.plan("POST", "/me/password", body)["status"] == 422
        else:
            assert client.post("/me/password?dry_run=true", body).status_code == 422

    assert client.post("/me/password", body).status_code == 429


def test_action_outside_of_a_request_is_limited_too(ada):
    with inside(ada.tenant):
        actor = Actor(User.objects.get(pk=ada.user.pk), ada.tenant, address=HOME)
        for _ in range(5):
            assert not passwords.is_own_password(actor, "wrong")
        with pytest.raises(TooManyAttempts):
            change_password(actor, current_password=PASSWORD, new_password="new battery 77")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["login", "password", "admin"])
def test_password_is_hashed_outside_of_a_transaction(clock, monkeypatch, path):
    """On SQLite, the one writer would wait for each hash."""
    boss = new_tenant("acme", "boss", PASSWORD)
    token = login(PASSWORD, "boss@acme.example").json()["token"]
    in_transaction = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher,
        "encode",
        lambda self, *a: in_transaction.append(connection.in_atomic_block) or encode(self, *a),
    )

    if path == "login":
        login("wrong", "boss@acme.example")
    elif path == "admin":
        admin_login("wrong")
    else:
        body = {"current_password": "wrong", "new_password": "new battery 77"}
        ApiClient(token).post("/me/password", body)

    assert in_transaction == [False]
    assert AttemptCounter.objects.count() >= 3
    assert boss


# ---- events and lines of the log ----------------------------------------------------------------


def describe(events):
    return [(f"{e.subject_type}.{e.verb}", e.actor_id, e.via, e.address) for e in events]


def test_sign_ins_are_events_with_the_address(ada, events):
    login(PASSWORD)
    login("wrong", address=ELSEWHERE)
    admin_login(PASSWORD)

    made = [e for e in events(ada.tenant) if e.address]

    boss = User.objects.none
    with inside(ada.tenant):
        boss = User.objects.get(handle="boss")
    assert describe(made) == [
        ("user.signed_in", ada.user.pk, "api", HOME),
        ("apitoken.created", ada.user.pk, "api", HOME),
        ("user.password_refused", None, "api", ELSEWHERE),
        ("user.signed_in", boss.pk, "admin", HOME),
    ]
    assert [e.subject_id for e in made if e.subject_type == "user"] == [
        ada.user.pk,
        ada.user.pk,
        boss.pk,
    ]


def test_change_of_password_is_an_event_with_the_address(ada, events):
    client = ApiClient(login(PASSWORD).json()["token"], REMOTE_ADDR=HOME)

    client.post("/me/password", {"current_password": PASSWORD, "new_password": "new battery 77"})

    changed = events(ada.tenant)[-1]
    assert describe([changed]) == [("user.changed", ada.user.pk, "api", HOME)]
    assert changed.changes == {"password": ["…", "…"]}


def test_unknown_account_is_recorded_at_the_tenant(ada, events):
    login(email="nobody@acme.example")

    assert describe(events(ada.tenant)[-1:]) == [("tenant.password_refused", None, "api", HOME)]


@pytest.mark.slow
@pytest.mark.parametrize("email", ["ada@acme.example", "nobody@acme.example"])
def test_refused_attempts_write_a_bounded_number_of_events(ada, clock, events, email):
    for n in range(60):
        login(email=email, address=f"198.51.{n}.1" if n < 50 else HOME)
        clock.seconds += 2.5

    verbs = [e.verb for e in events(ada.tenant) if e.address]

    assert verbs.count("password_limited") <= 6
    assert verbs.count("password_refused") <= 25


def test_events_of_guessing_at_many_accounts_are_bounded(ada, clock, events):
    for n in range(40):
        login(email=f"user{n}@acme.example", address=f"198.51.{n}.1")

    assert len([e for e in events(ada.tenant) if e.address]) <= 20


def test_log_lines_name_address_and_account_and_no_secret(ada, caplog):
    caplog.set_level(logging.INFO)

    login(PASSWORD)
    login("hunter2-secret")
    login("wrong", email="hunter2-secret@acme.example")
    [login("hunter2-secret") for _ in range(6)]

    lines = [json.loads(JsonFormatter().format(r)) for r in caplog.records]
    made = [x for x in lines if x["logger"] == "taskflow.auth"]
    assert [(x["message"], x["user"], x["client"]) for x in made[:3]] == [
        ("signed in", ada.user.pk, HOME),
        ("password refused", ada.user.pk, HOME),
        ("password refused", None, HOME),
    ]
    assert made[-1]["message"] == "too many attempts"
    assert len(made) < len([x for x in lines if x["logger"] == "taskflow.request"]) + 3
    assert "hunter2-secret" not in json.dumps(lines)
    assert PASSWORD not in json.dumps(lines)


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_changes_of_accounts_are_lines_of_the_log_when_they_are_committed(
    ada, caplog, django_capture_on_commit_callbacks, query
):
    caplog.set_level(logging.INFO, logger="taskflow.auth")
    client = ApiClient(login(PASSWORD).json()["token"], REMOTE_ADDR=ELSEWHERE)
    caplog.clear()

    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"/tokens{query}", {"name": "ci"}).status_code == 201
        body = {"current_password": PASSWORD, "new_password": "new battery 77"}
        assert client.post(f"/me/password{query}", body).status_code == 204

    made = [r for r in caplog.records if r.name == "taskflow.auth"]
    lines = {(*r.getMessage().split()[::2], r.user, r.client) for r in made}
    expected = {
        ("apitoken", "created", ada.user.pk, ELSEWHERE),
        ("user", "changed", ada.user.pk, ELSEWHERE),
    }
    assert lines & expected == (set() if query else expected)


# ---- one's own sign-ins -------------------------------------------------------------------------


def test_sign_ins_of_ones_own_account_are_listed_newest_first(ada):
    login(address=ELSEWHERE)
    login("wrong", "boss@acme.example")
    client = ApiClient(login(PASSWORD).json()["token"])

    rows = client.get("/me/sign-ins").json()["data"]

    assert [(r["verb"], r["address"], r["via"]) for r in rows] == [
        ("signed_in", HOME, "api"),
        ("password_refused", ELSEWHERE, "api"),
    ]
    assert client.get("/me/sign-ins?limit=1").json()["has_more"] is True


def test_history_in_the_admin_shows_sign_ins_to_staff(ada):
    login(address=ELSEWHERE)
    client = Client(REMOTE_ADDR=HOME, SERVER_NAME="acme.localhost")
    assert admin_login(PASSWORD, client=client).status_code == 302

    page = client.get(f"/admin/accounts/user/{ada.user.pk}/history/").content.decode()
    assert "password refused" in page
    assert f"via api from {ELSEWHERE}" in page
