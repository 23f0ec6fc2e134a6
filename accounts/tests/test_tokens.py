from __future__ import annotations

import datetime as dt

import pytest
import time_machine

from accounts import tokens
from accounts.models import ApiToken
from conftest import ApiClient, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


def create(client, **body):
    return client.post("/tokens", {"name": "ci"} | body)


@pytest.mark.parametrize(
    ("scope", "reads", "writes", "manages"),
    [("read", 200, 403, 403), ("write", 200, 201, 403), ("admin", 200, 201, 201)],
)
def test_token_scope_limits_operations(fixtures, as_, scope, reads, writes, manages):
    client = as_(fixtures.boss, scope)

    assert client.get("/tasks").status_code == reads
    assert client.post("/projects", {"name": "x"}).status_code == writes
    assert client.post("/users", {"email": "n@x.example"}).status_code == manages
    assert client.post("/auth/logout").status_code == 204


def test_created_token_works_and_is_shown_once(fixtures, as_):
    boss = as_(fixtures.boss)

    issued = create(boss, scope="read", expires_in_days=7).json()

    assert ApiClient(issued["token"]).get("/me").json()["scope"] == "read"
    with inside(fixtures.acme):
        stored = ApiToken.objects.get(pk=issued["id"])
        assert stored.digest == tokens.compute_digest(issued["token"])
        assert (stored.expires_at - stored.created_at).days in (6, 7)
        log = str(list(Event.objects.values()))
    listed = boss.get("/tokens").content.decode()
    for text in (issued["token"], stored.digest):
        assert text not in listed
        assert text not in log


def test_token_expires_after_ninety_days_by_default(fixtures, as_):
    text = create(as_(fixtures.ada)).json()["token"]

    for days, status in ((89, 200), (91, 401)):
        with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=days), tick=False):
            r = ApiClient(text).get("/me")
        assert r.status_code == status
    assert r.headers["WWW-Authenticate"].startswith("Bearer")


def test_revoked_token_is_refused(fixtures, as_):
    ada = as_(fixtures.ada)
    issued = create(ada).json()

    assert ada.delete(f"/tokens/{issued['id']}").status_code == 204
    assert ada.delete(f"/tokens/{issued['id']}").status_code == 204

    assert ApiClient(issued["token"]).get("/me").status_code == 401
    assert [t["revoked_at"] is None for t in ada.get("/tokens").json()["data"]] == [False, True]


def test_rotated_token_works_for_another_day(fixtures, as_):
    ada = as_(fixtures.ada)
    old = create(ada, scope="read").json()

    new = ada.post(f"/tokens/{old['id']}/rotation").json()

    assert (new["scope"], new["name"]) == ("read", "ci")
    assert ApiClient(old["token"]).get("/me").status_code == 200
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=25), tick=False):
        assert ApiClient(old["token"]).get("/me").status_code == 401
        assert ApiClient(new["token"]).get("/me").status_code == 200


def test_rotating_expired_or_revoked_token_is_refused(fixtures, as_):
    ada = as_(fixtures.ada)
    old = create(ada).json()
    ada.delete(f"/tokens/{old['id']}")

    assert ada.post(f"/tokens/{old['id']}/rotation").status_code == 409


@pytest.mark.parametrize("who", ["ada", "boss"])
def test_responsible_user_and_staff_can_create_agent_token(fixtures, as_, who):
    r = create(as_(getattr(fixtures, who)), user_id=fixtures.bot.user.pk)

    assert ApiClient(r.json()["token"]).get("/me").json()["kind"] == "agent"


def test_creating_token_for_another_person_is_refused(fixtures, as_):
    assert create(as_(fixtures.bob), user_id=fixtures.bot.user.pk).status_code == 403
    assert create(as_(fixtures.ada), user_id=fixtures.boss.user.pk).status_code == 403
    assert create(as_(fixtures.boss), user_id=fixtures.mallory.user.pk).status_code == 422


def test_bound_token_cannot_create_tokens_or_projects(fixtures, as_):
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])

    assert create(bound).status_code == 403
    assert create(bound, project_ids=[fixtures.apollo.pk, 99]).status_code == 403
    assert create(bound, project_ids=[fixtures.apollo.pk]).status_code == 403
    assert bound.post("/projects", {"name": "x"}).status_code == 403


def tampered(text, tenant_id):
    body = f"tf_{tenant_id}_{text.split('_')[2][: tokens.SECRET_LENGTH]}"
    return body + tokens._checksum(body)


def test_token_that_names_another_tenant_is_refused(fixtures):
    text = token_of(fixtures.ada)

    assert ApiClient(tampered(text, fixtures.acme.pk)).get("/me").status_code == 200
    assert ApiClient(tampered(text, fixtures.globex.pk)).get("/me").status_code == 401
    assert ApiClient(tampered(text, 10**18)).get("/me").status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Bearer tf_1_x", "Basic abc", "bearer  tf_0_" + "a" * 49]
)
def test_malformed_authorization_is_refused(fixtures, header):
    r = ApiClient().get("/me", headers={"Authorization": header})

    assert (r.status_code, r.json()["code"]) == (401, "unauthenticated")


def test_mistyped_token_is_refused_without_query(fixtures, django_assert_num_queries):
    text = token_of(fixtures.ada)
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")

    with django_assert_num_queries(0):
        assert ApiClient(wrong).get("/me").status_code == 401


def test_host_and_header_must_name_the_tokens_tenant(fixtures):
    text = token_of(fixtures.ada)
    for client, status in (
        ({"SERVER_NAME": "acme.localhost"}, 200),
        ({"HTTP_X_TENANT": "acme"}, 200),
        ({"SERVER_NAME": "globex.localhost"}, 404),
        ({"HTTP_X_TENANT": "globex"}, 404),
        ({"HTTP_X_TENANT": "nobody"}, 404),
    ):
        assert ApiClient(text, **client).get("/me").status_code == status


def test_last_use_is_stored_at_most_hourly(fixtures):
    client = ApiClient(token_of(fixtures.ada))

    def last_used():
        with inside(fixtures.acme):
            return ApiToken.objects.latest("pk").last_used_at

    start = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    for minutes, expected in ((0, 0), (59, 0), (61, 61)):
        with time_machine.travel(start + dt.timedelta(minutes=minutes), tick=False):
            client.get("/me")
        assert last_used() == start + dt.timedelta(minutes=expected)
