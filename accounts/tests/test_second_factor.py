"""The second factor of a user: enrolling, signing in with codes, recovery codes, removing."""

from __future__ import annotations

import json
import logging
import time
from io import BytesIO
from types import SimpleNamespace

import pyotp
import pytest
from django.utils import timezone

from accounts.actions import second_factors as actions
from accounts.models import RecoveryCode, SecondFactor, User
from accounts.tokens import read_tenant_id
from conftest import PASSWORD, ApiClient, new_tenant, person, token_of
from taskflow.audit.models import Event
from taskflow.logging import JsonFormatter
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once
from tasks.export.exporting import export_tenant

pytestmark = pytest.mark.one_database

CURRENT = {"current_password": PASSWORD}


def code_of(secret: str, steps: int = 0) -> str:
    """The code of the present time step, or of one that is `steps` later."""
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * steps)


def login(email: str = "ada@acme.example", **body: str):
    return ApiClient().post("/auth/login", {"email": email, "password": PASSWORD} | body)


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


@pytest.fixture
def ada(boss):
    with inside(boss.tenant):
        return person(boss, "ada", PASSWORD)


@pytest.fixture
def client(ada):
    return ApiClient(token_of(ada))


def enrol(client: ApiClient) -> tuple[str, list[str]]:
    """Enrol a second factor. Return its secret and its recovery codes. No step is used."""
    secret = client.post("/me/second-factor", CURRENT).json()["secret"]
    r = client.post("/me/second-factor/confirmation", {"otp": code_of(secret)})
    assert r.status_code == 200, r.content
    unit = read_tenant_id(client.token)
    with inside(unit):
        SecondFactor.objects.update(last_step=0)
    return secret, r.json()["recovery_codes"]


# ---- enrolling ----------------------------------------------------------------------------------


def test_enrolment_is_in_use_after_its_confirmation_only(ada, client):
    begun = client.post("/me/second-factor", CURRENT)

    assert begun.status_code == 200
    secret = begun.json()["secret"]
    assert pyotp.parse_uri(begun.json()["otpauth_uri"]).secret == secret
    assert "ada%40acme.example" in begun.json()["otpauth_uri"]
    assert login().status_code == 200, "what is not confirmed protects nothing"
    r = client.post("/me/second-factor/confirmation", {"otp": code_of(secret)})
    assert (r.status_code, len(set(r.json()["recovery_codes"]))) == (200, 10)
    state = client.get("/me/second-factor").json()
    assert (state["is_enabled"], state["recovery_codes_left"]) == (True, 10)
    assert login().json()["code"] == "second_factor_required"


def test_beginning_again_replaces_the_secret(client):
    first = client.post("/me/second-factor", CURRENT).json()["secret"]
    second = client.post("/me/second-factor", CURRENT).json()["secret"]

    assert first != second
    wrong = client.post("/me/second-factor/confirmation", {"otp": code_of(first)})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "#/otp")
    right = client.post("/me/second-factor/confirmation", {"otp": code_of(second)})
    assert right.status_code == 200


def test_second_enrolment_is_refused_while_one_is_in_use(client):
    secret, _codes = enrol(client)

    again = client.post("/me/second-factor", CURRENT)
    confirmed = client.post("/me/second-factor/confirmation", {"otp": code_of(secret)})

    assert (again.status_code, again.json()["code"]) == (409, "taken")
    assert (confirmed.status_code, confirmed.json()["code"]) == (409, "taken")


@pytest.mark.parametrize("path", ["", "/recovery-codes", "/removal"])
def test_changes_of_the_second_factor_ask_for_the_password_again(client, path):
    if path:
        enrol(client)

    r = client.post(f"/me/second-factor{path}", {"current_password": "wrong"})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/current_password")


@pytest.mark.parametrize("path", ["/recovery-codes", "/removal"])
def test_without_a_second_factor_there_is_nothing_to_renew_or_remove(client, path):
    client.post("/me/second-factor", CURRENT)  # begun is not in use

    r = client.post(f"/me/second-factor{path}", CURRENT)

    assert (r.status_code, r.json()["code"]) == (409, "no_second_factor")


# ---- signing in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "status"), [(-1, 200), (0, 200), (1, 200), (-3, 401), (3, 401)])
def test_codes_of_the_neighbouring_time_steps_are_accepted(ada, client, steps, status, monkeypatch):
    secret, _codes = enrol(client)
    now = timezone.now()
    monkeypatch.setattr(actions, "timezone", SimpleNamespace(now=lambda: now))

    r = login(otp=pyotp.TOTP(secret).at(int(now.timestamp()) + 30 * steps))

    assert r.status_code == status
    if status == 401:
        assert r.json()["code"] == "wrong_second_factor"


def test_used_time_step_and_earlier_ones_are_never_accepted_again(ada, client):
    secret, _codes = enrol(client)
    present = code_of(secret)

    first, again = login(otp=present), login(otp=present)
    earlier = login(otp=code_of(secret, -1))

    assert [r.status_code for r in (first, again, earlier)] == [200, 401, 401]


def test_code_may_have_spaces_and_the_password_is_still_checked(ada, client):
    secret, _codes = enrol(client)
    code = code_of(secret)

    wrong = login(otp=code, password="wrong")
    right = login(otp=f"{code[:3]} {code[3:]}")

    assert wrong.json()["code"] == "unauthenticated", "the code is not used up by a wrong password"
    assert right.status_code == 200


def test_recovery_code_signs_in_once(ada, client):
    _secret, codes = enrol(client)

    first, again = login(otp=codes[0].lower()), login(otp=codes[0])

    assert [r.status_code for r in (first, again)] == [200, 401]
    assert client.get("/me/second-factor").json()["recovery_codes_left"] == 9


def test_renewed_recovery_codes_replace_the_former_ones(ada, client):
    _secret, former = enrol(client)

    new = client.post("/me/second-factor/recovery-codes", CURRENT).json()["recovery_codes"]

    assert not set(former) & set(new)
    assert [login(otp=former[0]).status_code, login(otp=new[0]).status_code] == [401, 200]


@pytest.mark.parametrize("otp", ["000000", "½½½½½½", "x", "ABCD-EFGH-IJKL-MNOP", "12345", "١٢٣٤٥٦"])
def test_wrong_code_of_any_form_gets_401(ada, client, otp):
    enrol(client)

    assert login(otp=otp).json()["code"] == "wrong_second_factor"


def test_code_without_a_second_factor_is_ignored(ada):
    assert login(otp="123456").status_code == 200


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_one_code_of_two_simultaneous_sign_ins_is_accepted_once(ada, client, kind):
    secret, codes = enrol(client)
    otp = code_of(secret) if kind == "app" else codes[0]

    answers = at_once(lambda: login(otp=otp), lambda: login(otp=otp))

    assert sorted(r.status_code for r in answers) == [200, 401]


# ---- required by the tenant ---------------------------------------------------------------------


def test_required_second_factor_leads_administrators_to_enrol_and_nobody_else(boss, ada):
    admin = ApiClient(token_of(boss))
    assert admin.patch("/tenant", {"second_factor_required": True}).status_code == 200

    refused = login("boss@acme.example")

    assert (refused.status_code, refused.json()["code"]) == (
        401,
        "second_factor_enrolment_required",
    )
    assert login().status_code == 200, "Ada is no administrator"
    assert admin.get("/me").status_code == 200, "tokens that exist stay valid"
    assert admin.get("/me/second-factor").json()["is_required"]


def test_enrolment_while_signing_in_returns_a_token(boss):
    ApiClient(token_of(boss)).patch("/tenant", {"second_factor_required": True})
    body = {"email": "boss@acme.example", "password": PASSWORD}

    begun = ApiClient().post("/auth/second-factor", body)
    otp = code_of(begun.json()["secret"])
    wrong = ApiClient().post(
        "/auth/second-factor/confirmation", body | {"otp": otp, "password": "wrong"}
    )
    r = ApiClient().post("/auth/second-factor/confirmation", body | {"otp": otp})

    assert (begun.status_code, wrong.status_code, r.status_code) == (200, 401, 200)
    assert ApiClient(r.json()["token"]).get("/me").status_code == 200
    assert login("boss@acme.example", otp=r.json()["recovery_codes"][0]).status_code == 200


@pytest.mark.parametrize("is_required", [False, True])
def test_enrolment_while_signing_in_is_refused_where_none_is_due(boss, ada, is_required):
    """Otherwise the password alone could replace the second factor."""
    admin = ApiClient(token_of(boss))
    secret, _codes = enrol(admin)
    admin.patch("/tenant", {"second_factor_required": is_required})

    for email in ("boss@acme.example", "ada@acme.example"):
        body = {"email": email, "password": PASSWORD}
        begun = ApiClient().post("/auth/second-factor", body)
        confirmed = ApiClient().post(
            "/auth/second-factor/confirmation", body | {"otp": code_of(secret)}
        )
        assert [begun.status_code, confirmed.status_code] == [401, 401]


def test_required_second_factor_cannot_be_removed(boss):
    admin = ApiClient(token_of(boss))
    enrol(admin)
    admin.patch("/tenant", {"second_factor_required": True})

    refused = admin.post("/me/second-factor/removal", CURRENT)
    admin.patch("/tenant", {"second_factor_required": False})
    removed = admin.post("/me/second-factor/removal", CURRENT)

    assert (refused.status_code, refused.json()["code"]) == (409, "second_factor_mandatory")
    assert removed.status_code == 204
    assert login("boss@acme.example").status_code == 200


# ---- what is stored, recorded and undone --------------------------------------------------------


def test_secrets_are_in_no_table_event_export_log_line_or_later_response(ada, client, caplog):
    caplog.set_level(logging.DEBUG)
    key = {"Idempotency-Key": "k"}
    secret = client.post("/me/second-factor", CURRENT, headers=key).json()["secret"]
    confirmation = {"otp": code_of(secret)}
    path = "/me/second-factor/confirmation"
    codes = client.post(path, confirmation, headers={"Idempotency-Key": "c"}).json()
    with inside(ada.tenant):
        salt, digest = SecondFactor.objects.get().salt, RecoveryCode.objects.first().digest
    hidden = [secret, *codes["recovery_codes"]]
    file = BytesIO()
    export_tenant(ada.tenant, file, lambda rows: None)
    places = {"export": file.getvalue().decode(), "state": client.get("/me/second-factor").content}
    places["logs"] = json.dumps([JsonFormatter().format(r) for r in caplog.records])

    with inside(ada.tenant):
        places["events"] = str(list(Event.objects.values()))
        places["tables"] = str([list(m.objects.values()) for m in (SecondFactor, RecoveryCode)])
        places["stored responses"] = str(list(User.objects.model.objects.values()))

    for name, text in places.items():
        stored = [] if name == "tables" else [salt, digest]
        assert not [one for one in (*hidden, *stored) if one in str(text)], name


@pytest.mark.parametrize("path", ["", "/confirmation", "/recovery-codes"])
def test_retry_with_an_idempotency_key_gets_the_same_secrets(ada, client, path):
    secret = client.post("/me/second-factor", CURRENT).json()["secret"]
    body = {"otp": code_of(secret)} if path == "/confirmation" else CURRENT
    if path == "/recovery-codes":
        client.post("/me/second-factor/confirmation", {"otp": code_of(secret)})
    url, headers = f"/me/second-factor{path}", {"Idempotency-Key": "k"}

    first, again = (client.post(url, body, headers=headers) for _ in range(2))

    assert first.status_code == again.status_code < 300
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.content == again.content


def test_changes_of_the_second_factor_are_events(ada, client, events):
    _secret, codes = enrol(client)
    login(otp=codes[0])
    client.post("/me/second-factor/recovery-codes", CURRENT)
    client.post("/me/second-factor/removal", CURRENT)

    verbs = [e.verb for e in events(ada.tenant, subject_type="secondfactor")]
    assert verbs == ["begun", "enabled", "recovered", "renewed", "removed"]


@pytest.mark.parametrize("change", ["begun", "enabled", "renewed", "removed"])
def test_undo_neither_removes_nor_restores_a_second_factor(boss, change):
    client = ApiClient(token_of(boss))
    secret = client.post("/me/second-factor", CURRENT).json()["secret"]
    client.post("/me/second-factor/confirmation", {"otp": code_of(secret)})
    client.post("/me/second-factor/recovery-codes", CURRENT)
    if change == "removed":
        client.post("/me/second-factor/removal", CURRENT)
    with inside(boss.tenant):
        event = Event.objects.get(subject_type="secondfactor", verb=change)
        before = list(SecondFactor.objects.values()), list(RecoveryCode.objects.values())

    answers = [
        client.post("/undo", body)
        for selector in ({"event_ids": [event.pk]}, {"request_id": event.request_id})
        for body in (selector, selector | {"on_conflict": "skip"})
    ]

    assert {r.status_code for r in answers} <= {200, 404, 409}, answers[0].content
    with inside(boss.tenant):
        assert (list(SecondFactor.objects.values()), list(RecoveryCode.objects.values())) == before


def test_dry_run_of_an_enrolment_stores_nothing(ada, client):
    r = client.post("/me/second-factor?dry_run=true", CURRENT)

    assert r.status_code == 200
    with inside(ada.tenant):
        assert not SecondFactor.objects.exists()


# ---- who may ------------------------------------------------------------------------------------

OPERATIONS = [("get", "", None), ("post", "", CURRENT), ("post", "/confirmation", {"otp": "1"}),
              ("post", "/recovery-codes", CURRENT), ("post", "/removal", CURRENT)]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
def test_agents_and_bound_tokens_have_no_second_factor(fixtures, method, path, body):
    bound = ApiClient(token_of(fixtures.ada, project_ids=[fixtures.apollo.pk]))

    for client in (ApiClient(token_of(fixtures.bot)), bound):
        r = getattr(client, method)(f"/me/second-factor{path}", body)
        assert r.status_code == 403


def test_deleting_the_user_deletes_the_second_factor(boss, ada, client):
    enrol(client)
    ada_id = ada.user.pk

    with inside(boss.tenant):
        Event.objects.filter(actor_id=ada_id).update(actor=None)
    r = ApiClient(token_of(boss)).delete(f"/users/{ada_id}")

    assert r.status_code == 204, r.content
    with inside(boss.tenant):
        assert not SecondFactor.objects.exists()
        assert not RecoveryCode.objects.exists()
