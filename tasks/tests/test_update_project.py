from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import Project, ProjectMember

pytestmark = pytest.mark.one_database

CHANGES = {
    "name": "New",
    "description": "d",
    "status": "on_hold",
    "metadata": {"k": 1},
    "key": "NEW",
}


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize("field", CHANGES)
def test_updating_one_field_keeps_the_others(fixtures, as_, events, method, field):
    client = as_(fixtures.carl)
    before = client.get("/projects/APO").json()

    r = getattr(client, method)(f"/projects/{before['id']}", {field: CHANGES[field]})

    after = r.json()
    assert r.status_code == 200
    changed = {
        k: v for k, v in after.items() if v != before[k] and k not in ("updated_at", "version")
    }
    assert changed == {field: CHANGES[field]}
    event = events(fixtures.acme, subject_type="project")[-1]
    assert (event.verb, event.changes) == ("changed", {field: [before[field], CHANGES[field]]})


def test_updating_with_present_values_changes_nothing(fixtures, as_, events):
    client = as_(fixtures.ada)
    before = client.get("/projects/APO")
    count = len(events(fixtures.acme))

    same = {k: before.json()[k] for k in CHANGES}
    after = client.patch("/projects/APO", same | {"owner_id": fixtures.ada.user.pk})

    assert after.json() == before.json()
    assert after.headers["ETag"] == before.headers["ETag"]
    assert client.patch("/projects/APO", {}).json() == before.json()
    assert len(events(fixtures.acme)) == count


def test_metadata_true_and_1_are_different(fixtures, as_):
    client = as_(fixtures.ada)
    client.patch("/projects/APO", {"metadata": {"a": [1], "b": 0}})

    r = client.patch("/projects/APO", {"metadata": {"a": [True], "b": False}})

    assert r.content.count(b"true") == r.content.count(b"false") == 1


def test_new_key_changes_the_keys_of_tasks(fixtures, as_):
    client = as_(fixtures.ada)
    client.patch("/projects/APO", {"key": "NEW"})

    assert client.get("/tasks/NEW-1").json()["key"] == "NEW-1"
    assert client.get("/tasks/APO-1").json()["key"] == "NEW-1"


@pytest.mark.parametrize("name", [*CHANGES, "owner_id"])
def test_null_is_refused(fixtures, as_, name):
    assert as_(fixtures.ada).patch("/projects/APO", {name: None}).status_code == 422


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
def test_invalid_body_is_refused(fixtures, as_, body):
    client = as_(fixtures.ada)
    before = client.get("/projects/APO").json()

    assert client.patch("/projects/APO", {"name": "half"} | body).status_code == 422
    assert client.get("/projects/APO").json() == before


def test_taken_key_is_a_conflict(fixtures, as_):
    as_(fixtures.ada).post("/projects", {"name": "x", "key": "TKN"})

    r = as_(fixtures.ada).patch("/projects/APO", {"name": "half", "key": "TKN"})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert as_(fixtures.ada).get("/projects/APO").json()["name"] == "Apollo"


def roles(fixtures):
    with inside(fixtures.acme):
        members = ProjectMember.objects.filter(project=fixtures.apollo)
        return dict(members.values_list("user__handle", "role"))


def test_new_owner_becomes_a_member_with_the_role_owner(fixtures, as_, events):
    r = as_(fixtures.ada).patch(
        "/projects/APO", {"owner_id": fixtures.eve.user.pk, "name": "Second"}
    )

    assert (r.json()["owner"]["handle"], r.json()["name"]) == ("eve", "Second")
    assert roles(fixtures)["eve"] == roles(fixtures)["ada"] == "owner"
    joined, changed = events(fixtures.acme, project_id=fixtures.apollo.pk)[-2:]
    assert (joined.subject_type, joined.verb) == ("projectmember", "joined")
    assert changed.changes["owner"] == [fixtures.ada.user.pk, fixtures.eve.user.pk]


def test_member_who_becomes_owner_has_one_membership(fixtures, as_):
    as_(fixtures.ada).patch("/projects/APO", {"owner_id": fixtures.bob.user.pk})

    assert roles(fixtures) == {"ada": "owner", "bob": "owner", "carl": "admin", "bot": "member"}


@pytest.mark.parametrize(("who", "status"), [("boss", 200), ("carl", 403), ("bob", 403)])
def test_only_owners_and_staff_can_change_the_owner(fixtures, as_, who, status):
    r = as_(getattr(fixtures, who)).patch("/projects/APO", {"owner_id": fixtures.bob.user.pk})

    assert r.status_code == status


def test_deactivated_or_unknown_new_owner_is_refused(fixtures, as_):
    as_(fixtures.boss).patch(f"/users/{fixtures.eve.user.pk}", {"is_active": False})

    for user in (fixtures.eve.user, fixtures.mallory.user):
        r = as_(fixtures.ada).patch("/projects/APO", {"owner_id": user.pk})
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/owner_id")
    with inside(fixtures.acme):
        assert Project.objects.get().owner_id == fixtures.ada.user.pk


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).patch(f"/projects/{fixtures.apollo.pk}", {"name": "x"}).status_code == 404
