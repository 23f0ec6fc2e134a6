from __future__ import annotations

import pytest

from conftest import hide_id
from taskflow.tenancy import inside
from tasks.models import ProjectMember

pytestmark = pytest.mark.one_database


def add(client, user, **body):
    return client.post("/projects/APO/members", {"user_id": user.pk} | body)


def test_adding_a_member_creates_the_membership_and_its_event(fixtures, as_, events):
    r = add(as_(fixtures.carl), fixtures.eve.user)

    assert r.status_code == 201
    assert (r.json()["project_id"], r.json()["role"]) == (fixtures.apollo.pk, "member")
    assert r.json()["user"]["handle"] == "eve"
    assert as_(fixtures.eve).get("/tasks/APO-1").status_code == 200
    event = events(fixtures.acme, subject_type="projectmember")[-1]
    assert (event.verb, event.subject_id, event.actor_id) == (
        "joined",
        r.json()["id"],
        fixtures.carl.user.pk,
    )
    assert event.project_id == fixtures.apollo.pk
    assert event.changes["user"] == [None, fixtures.eve.user.pk]
    assert event.changes["role"] == [None, "member"]


def test_adding_a_member_twice_is_a_conflict(fixtures, as_):
    r = add(as_(fixtures.ada), fixtures.bob.user, role="admin")

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    with inside(fixtures.acme):
        assert ProjectMember.objects.get(user=fixtures.bob.user).role == "member"


@pytest.mark.parametrize(
    ("who", "role", "status"),
    [
        ("ada", "owner", 201),
        ("boss", "owner", 201),
        ("carl", "owner", 403),
        ("carl", "admin", 201),
        ("bob", "member", 403),
        ("bot", "member", 403),
    ],
)
def test_adding_a_member_requires_a_role_above_the_new_one(fixtures, as_, who, role, status):
    assert add(as_(getattr(fixtures, who)), fixtures.eve.user, role=role).status_code == status


def test_adding_a_deactivated_user_is_refused(fixtures, as_):
    as_(fixtures.boss).patch(f"/users/{fixtures.eve.user.pk}", {"is_active": False})

    r = add(as_(fixtures.ada), fixtures.eve.user)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/user_id")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_id": 0},
        {"user_id": -1},
        {"user_id": "1"},
        {"user_id": True},
        {"user_id": None},
        {"user_id": 10**9},
        {"user_id": 2**63},
        {"user_id": "eve", "role": "king"},
        {"user_id": "eve", "role": None},
        {"user_id": "eve", "project_id": 1},
    ],
)
def test_invalid_body_is_refused(fixtures, as_, body):
    if body.get("user_id") == "eve":
        body = body | {"user_id": fixtures.eve.user.pk}

    r = as_(fixtures.ada).post("/projects/APO/members", body)

    assert r.status_code in (400, 422), r.json()
    with inside(fixtures.acme):
        assert ProjectMember.objects.count() == 4


def test_user_of_another_tenant_is_unknown(fixtures, as_):
    theirs = add(as_(fixtures.ada), fixtures.mallory.user)
    nobodys = as_(fixtures.ada).post("/projects/APO/members", {"user_id": 10**9})

    assert theirs.status_code == nobodys.status_code == 422
    shown = hide_id(theirs.json()["errors"], fixtures.mallory.user.pk)
    assert shown == hide_id(nobodys.json()["errors"], 10**9)


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        client = as_(actor)
        body = {"user_id": actor.user.pk}
        assert client.post(f"/projects/{fixtures.apollo.pk}/members", body).status_code == 404
