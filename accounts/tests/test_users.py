from __future__ import annotations

import pytest

from accounts.actions.users import update_user
from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

OWN_PASSWORD = "an administrator's passphrase"


def test_creating_a_person_returns_the_stored_user(fixtures, as_, events):
    body = {"email": "Zoe.Zed@acme.example", "full_name": "Zoe", "password": PASSWORD}

    r = as_(fixtures.boss).post("/users", body)

    assert r.status_code == 201
    user = r.json()
    assert (user["handle"], user["email"], user["kind"]) == (
        "zoe-zed", "zoe.zed@acme.example", "human",
    )  # fmt: skip
    assert "password" not in user
    assert r.headers["Location"] == f"/api/v1/users/{user['id']}"
    login = {"email": "zoe.zed@acme.example", "password": PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 200
    assert PASSWORD not in str([e.changes for e in events(fixtures.acme)])


def test_creating_an_agent_returns_the_stored_user(fixtures, as_):
    r = as_(fixtures.boss).post("/users", {"kind": "agent", "full_name": "Robo"})

    assert (r.json()["handle"], r.json()["responsible_id"]) == ("robo", fixtures.boss.user.pk)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"full_name": "No mail"}, 422),
        ({"email": "bob@acme.example"}, 409),
        ({"email": "x@acme.example", "handle": "bob"}, 409),
        ({"email": "x@acme.example", "handle": "Not A Handle"}, 422),
        ({"email": "x@acme.example", "handle": "me"}, 422),
        ({"email": "x@acme.example", "handle": "none"}, 422),
        ({"email": "x@acme.example", "password": "123"}, 422),
        ({"kind": "agent", "password": PASSWORD}, 422),
        ({"kind": "agent", "is_staff": True}, 422),
        ({"kind": "robot"}, 422),
        ({"email": "x@acme.example", "is_superuser": True}, 422),
        ({"email": "x@acme.example", "is_staff": 1}, 422),
        ({"email": "x@acme.example", "responsible_id": 10**9}, 422),
        ({"email": "a" * 250 + "@acme.example"}, 422),
    ],
)
def test_refused_user_is_not_stored(fixtures, as_, body, status):
    r = as_(fixtures.boss).post("/users", body)

    assert r.status_code == status, r.json()
    with inside(fixtures.acme):
        assert User.objects.count() == 6


def test_handle_derived_from_reserved_word_gets_number(fixtures, as_):
    client = as_(fixtures.boss)

    for word in ("me", "none"):
        r = client.post("/users", {"email": f"{word}@acme.example"})
        assert (r.status_code, r.json()["handle"]) == (201, f"{word}-2")


def test_reserved_handle_is_refused_when_changed(fixtures, as_):
    for path in ("/me", f"/users/{fixtures.boss.user.pk}"):
        r = as_(fixtures.boss).patch(path, {"handle": "none"})
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/handle")


def test_email_is_unique_per_tenant_only(fixtures, as_):
    assert as_(fixtures.mallory).post("/users", {"email": "bob@acme.example"}).status_code == 201


@pytest.mark.parametrize("method", ["patch", "put"])
def test_changing_one_field_keeps_the_others(fixtures, as_, method):
    before = as_(fixtures.boss).get(f"/users/{fixtures.eve.user.pk}").json()

    after = getattr(as_(fixtures.boss), method)(f"/users/{before['id']}", {"full_name": "E"}).json()

    assert {k for k in after if after[k] != before[k]} == {"full_name", "updated_at", "version"}


def test_deactivating_revokes_all_tokens(fixtures, as_, events):
    clients = [ApiClient(token_of(fixtures.bob)) for _ in range(2)]

    r = as_(fixtures.boss).patch(f"/users/{fixtures.bob.user.pk}", {"is_active": False})

    assert r.json()["is_active"] is False
    assert [c.get("/me").status_code for c in clients] == [401, 401]
    with inside(fixtures.acme):
        assert not ApiToken.objects.filter(user=fixtures.bob.user, revoked_at=None).exists()
    assert [e.verb for e in events(fixtures.acme)][-3:] == ["changed", "revoked", "revoked"]


def test_administrator_can_set_password(fixtures, as_):
    client = ApiClient(token_of(fixtures.bob))
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.boss.user, password=OWN_PASSWORD)
    body = {"password": PASSWORD, "current_password": OWN_PASSWORD}

    r = as_(fixtures.boss).patch(f"/users/{fixtures.bob.user.pk}", body)

    assert r.status_code == 200
    assert client.get("/me").status_code == 401
    login = {"email": "bob@acme.example", "password": PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 200


@pytest.mark.parametrize("body", [{"is_staff": False}, {"is_active": False}])
def test_last_administrator_cannot_be_removed(fixtures, as_, body):
    assert as_(fixtures.boss).patch(f"/users/{fixtures.boss.user.pk}", body).status_code == 409
    assert as_(fixtures.boss).delete(f"/users/{fixtures.boss.user.pk}").status_code == 409


def test_user_without_changes_can_be_deleted(fixtures, as_, events):
    user = as_(fixtures.boss).post("/users", {"email": "new@acme.example"}).json()

    assert as_(fixtures.boss).delete(f"/users/{user['id']}").status_code == 204

    assert events(fixtures.acme, subject_type="user")[-1].changes["email"] == [
        "new@acme.example", None,
    ]  # fmt: skip


def test_deleting_owner_is_refused_with_owned_rows(fixtures, as_):
    r = as_(fixtures.boss).delete(f"/users/{fixtures.ada.user.pk}")

    assert (r.status_code, r.json()["code"]) == (409, "owns_things")
    owned = {e["kind"]: e["count"] for e in r.json()["errors"]}
    assert "1 project," in r.json()["detail"]
    assert owned["projects"] == 1
    assert owned["tasks"] == 1
    with inside(fixtures.acme):
        assert User.objects.filter(pk=fixtures.ada.user.pk).exists()


def test_list_of_users_can_be_filtered(fixtures, as_):
    client = as_(fixtures.eve)

    def handles(query):
        return [u["handle"] for u in client.get(f"/users?{query}").json()["data"]]

    assert handles("kind=agent") == ["bot"]
    assert handles("handle=bob") == ["bob"]
    assert handles("email=eve@acme.example") == ["eve"]
    assert handles("is_active=false") == []
    assert client.get("/users?kind=robot").status_code == 422
