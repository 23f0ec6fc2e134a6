from __future__ import annotations

import pytest

from accounts.tenancy import inside
from tasks.models import Project, ProjectMember


def membership(world, actor):
    with inside(world.acme):
        return ProjectMember.objects.get(user=actor.user).pk


def roles(client):
    data = client.get("/projects/APO/members").json()["data"]
    return {m["user"]["handle"]: m["role"] for m in data}


def test_a_member_joins_and_leaves(world, as_, events):
    ada = as_(world.ada)

    r = ada.post("/projects/APO/members", {"user_id": world.eve.user.pk})

    assert (r.status_code, r.json()["role"], r.json()["user"]["handle"]) == (201, "member", "eve")
    assert as_(world.eve).get("/tasks/APO-1").status_code == 200
    assert as_(world.eve).delete(f"/members/{r.json()['id']}").status_code == 204
    assert as_(world.eve).get("/tasks/APO-1").status_code == 404
    assert [e.verb for e in events(world.acme, subject_type="projectmember")][-2:] == [
        "joined",
        "left",
    ]


def test_nobody_joins_twice(world, as_):
    r = as_(world.ada).post("/projects/APO/members", {"user_id": world.bob.user.pk})

    assert (r.status_code, r.json()["code"]) == (409, "taken")


@pytest.mark.parametrize(
    "body", [{}, {"user_id": 0}, {"user_id": "1"}, {"user_id": 10**9}, {"user_id": True}]
)
def test_only_users_of_the_tenant_join(world, as_, body):
    assert as_(world.ada).post("/projects/APO/members", body).status_code == 422
    stranger = {"user_id": world.mallory.user.pk}
    assert as_(world.ada).post("/projects/APO/members", stranger).status_code == 422


def test_a_deactivated_user_does_not_join(world, as_):
    as_(world.boss).patch(f"/users/{world.eve.user.pk}", {"is_active": False})

    r = as_(world.ada).post("/projects/APO/members", {"user_id": world.eve.user.pk})

    assert r.status_code == 422


def test_only_owners_make_and_unmake_owners(world, as_):
    carl, ada = as_(world.carl), as_(world.ada)
    bob, adas = membership(world, world.bob), membership(world, world.ada)

    assert carl.patch(f"/members/{bob}", {"role": "admin"}).status_code == 200
    assert carl.patch(f"/members/{bob}", {"role": "owner"}).status_code == 403
    assert carl.delete(f"/members/{adas}").status_code == 403
    assert ada.patch(f"/members/{bob}", {"role": "owner"}).status_code == 200
    assert roles(ada) == {"ada": "owner", "carl": "admin", "bob": "owner", "bot": "member"}


@pytest.mark.parametrize("who", ["ada", "boss"])
def test_the_last_owner_cannot_leave(world, as_, who):
    client, adas = as_(getattr(world, who)), membership(world, world.ada)

    assert client.delete(f"/members/{adas}").status_code == 409
    assert client.patch(f"/members/{adas}", {"role": "member"}).status_code == 409
    assert roles(as_(world.ada))["ada"] == "owner"


def test_a_leaving_owner_passes_the_project_on(world, as_):
    as_(world.ada).patch(f"/members/{membership(world, world.bob)}", {"role": "owner"})

    assert as_(world.ada).delete(f"/members/{membership(world, world.ada)}").status_code == 204

    with inside(world.acme):
        assert Project.objects.get().owner_id == world.bob.user.pk
