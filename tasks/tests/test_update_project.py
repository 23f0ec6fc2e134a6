from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import Project, ProjectMember

CHANGES = {
    "name": "New",
    "description": "d",
    "status": "on_hold",
    "metadata": {"k": 1},
    "key": "NEW",
}


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize("field", CHANGES)
def test_updating_one_field_keeps_the_others(world, as_, events, method, field):
    client = as_(world.carl)
    before = client.get("/projects/APO").json()

    r = getattr(client, method)(f"/projects/{before['id']}", {field: CHANGES[field]})

    after = r.json()
    assert r.status_code == 200
    changed = {
        k: v for k, v in after.items() if v != before[k] and k not in ("updated_at", "version")
    }
    assert changed == {field: CHANGES[field]}
    event = events(world.acme, subject_type="project")[-1]
    assert (event.verb, event.changes) == ("changed", {field: [before[field], CHANGES[field]]})


def test_updating_with_present_values_changes_nothing(world, as_, events):
    client = as_(world.ada)
    before = client.get("/projects/APO")
    count = len(events(world.acme))

    same = {k: before.json()[k] for k in CHANGES}
    after = client.patch("/projects/APO", same | {"owner_id": world.ada.user.pk})

    assert after.json() == before.json()
    assert after.headers["ETag"] == before.headers["ETag"]
    assert client.patch("/projects/APO", {}).json() == before.json()
    assert len(events(world.acme)) == count


def test_metadata_true_and_1_are_different(world, as_):
    client = as_(world.ada)
    client.patch("/projects/APO", {"metadata": {"a": [1], "b": 0}})

    r = client.patch("/projects/APO", {"metadata": {"a": [True], "b": False}})

    assert r.content.count(b"true") == r.content.count(b"false") == 1


def test_new_key_changes_the_keys_of_tasks(world, as_):
    client = as_(world.ada)
    client.patch("/projects/APO", {"key": "NEW"})

    assert client.get("/tasks/NEW-1").json()["key"] == "NEW-1"
    assert client.get("/tasks/APO-1").status_code == 404


@pytest.mark.parametrize("name", [*CHANGES, "owner_id"])
def test_null_is_refused(world, as_, name):
    assert as_(world.ada).patch("/projects/APO", {name: None}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"key": "new"},
        {"status": "gone"},
        {"description": "x" * 65_537},
        {"metadata": {"a": "x" * 40_000}},
        {"tenant_id": 2},
        {"owner": 2},
        {"last_number": 0},
        {"task_counts": {}},
    ],
)
def test_invalid_body_is_refused(world, as_, body):
    client = as_(world.ada)
    before = client.get("/projects/APO").json()

    assert client.patch("/projects/APO", {"name": "half"} | body).status_code == 422
    assert client.get("/projects/APO").json() == before


def test_taken_key_is_a_conflict(world, as_):
    as_(world.ada).post("/projects", {"name": "x", "key": "TKN"})

    r = as_(world.ada).patch("/projects/APO", {"name": "half", "key": "TKN"})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert as_(world.ada).get("/projects/APO").json()["name"] == "Apollo"


def roles(world):
    with inside(world.acme):
        members = ProjectMember.objects.filter(project=world.apollo)
        return dict(members.values_list("user__handle", "role"))


def test_new_owner_becomes_a_member_with_the_role_owner(world, as_, events):
    r = as_(world.ada).patch("/projects/APO", {"owner_id": world.eve.user.pk, "name": "Hers"})

    assert (r.json()["owner"]["handle"], r.json()["name"]) == ("eve", "Hers")
    assert roles(world)["eve"] == roles(world)["ada"] == "owner"
    joined, changed = events(world.acme, project_id=world.apollo.pk)[-2:]
    assert (joined.subject_type, joined.verb) == ("projectmember", "joined")
    assert changed.changes["owner"] == [world.ada.user.pk, world.eve.user.pk]


def test_member_who_becomes_owner_has_one_membership(world, as_):
    as_(world.ada).patch("/projects/APO", {"owner_id": world.bob.user.pk})

    assert roles(world) == {"ada": "owner", "bob": "owner", "carl": "admin", "bot": "member"}


@pytest.mark.parametrize(("who", "status"), [("boss", 200), ("carl", 403), ("bob", 403)])
def test_only_owners_and_staff_can_change_the_owner(world, as_, who, status):
    r = as_(getattr(world, who)).patch("/projects/APO", {"owner_id": world.bob.user.pk})

    assert r.status_code == status


def test_deactivated_or_unknown_new_owner_is_refused(world, as_):
    as_(world.boss).patch(f"/users/{world.eve.user.pk}", {"is_active": False})

    for user in (world.eve.user, world.mallory.user):
        r = as_(world.ada).patch("/projects/APO", {"owner_id": user.pk})
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/owner_id")
    with inside(world.acme):
        assert Project.objects.get().owner_id == world.ada.user.pk


def test_project_of_a_non_member_is_not_found(world, as_):
    for actor in (world.eve, world.mallory):
        assert as_(actor).patch(f"/projects/{world.apollo.pk}", {"name": "x"}).status_code == 404
