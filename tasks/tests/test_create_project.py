from __future__ import annotations

import pytest

from conftest import hide_id
from taskflow.tenancy import inside
from tasks.actions import projects
from tasks.models import Project, ProjectMember

pytestmark = pytest.mark.one_database


def create(client, **body):
    return client.post("/projects", {"name": "x"} | body)


def test_owner_becomes_the_first_member(fixtures, as_, events):
    client = as_(fixtures.eve)

    r = create(
        client,
        name="  Moon Landing ",
        description="To the moon.",
        status="on_hold",
        metadata={"a": [1, None]},
    )

    assert r.status_code == 201
    body = r.json()
    assert (body["key"], body["name"], body["status"]) == ("ML", "Moon Landing", "on_hold")
    assert (body["description"], body["metadata"]) == ("To the moon.", {"a": [1, None]})
    assert (body["role"], body["owner"]["handle"]) == ("owner", "eve")
    assert body["task_counts"] == {"todo": 0, "in_progress": 0, "done": 0, "cancelled": 0}
    assert r.headers["Location"] == f"/api/v1/projects/{body['id']}"
    assert r.headers["ETag"]
    made = events(fixtures.acme, project_id=body["id"])
    assert [(e.subject_type, e.verb) for e in made] == [
        ("project", "created"),
        ("projectmember", "joined"),
    ]
    assert {e.request_id for e in made} == {r.headers["X-Request-Id"]}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Zeus", "ZEU"),
        ("Web site relaunch", "WSR"),
        ("One two three four five six", "OTTF"),
        ("Ärger & Öl", "AO"),
        ("v2.0 launch", "VL"),
        ("日本語", "PRJ"),
        ("Проект", "PRJ"),
        ("🚀", "PRJ"),
        ("123", "PRJ"),
        ("x", "PRJ"),
        ("x" * 255, "XXX"),
    ],
)
def test_missing_key_is_derived_from_the_name(fixtures, as_, name, key):
    assert create(as_(fixtures.ada), name=name).json()["key"] == key


@pytest.mark.slow
def test_derived_key_avoids_taken_keys(fixtures, as_):
    client = as_(fixtures.ada)

    keys = [create(client, name="Zeus").json()["key"] for _ in range(28)]

    assert keys[:4] == ["ZEU", "ZEUA", "ZEUB", "ZEUC"]
    assert keys[-2:] == ["ZEUZ", "ZEUAA"]


def test_derived_key_ignores_keys_of_other_tenants(fixtures, as_):
    assert create(as_(fixtures.mallory), name="Apollo").json()["key"] == "APO"


def test_taken_key_is_a_conflict_that_names_the_field(fixtures, as_):
    r = create(as_(fixtures.eve), key="APO")

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert r.json()["detail"] == "Another project, maybe one in the trash, has this key."


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"key": "apo"}, "key"),
        ({"key": "1A"}, "key"),
        ({"key": "A"}, "key"),
        ({"key": "ABCDEFGHIJK"}, "key"),
        ({"key": "ÄÖ"}, "key"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": None}, "name"),
        ({"name": ["x"]}, "name"),
        ({"description": "x" * 65_537}, "description"),
        ({"description": None}, "description"),
        ({"status": "gone"}, "status"),
        ({"metadata": {"a": "x" * 40_000}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"owner_id": 10**9}, "owner_id"),
        ({"owner_id": "1"}, "owner_id"),
        ({"owner_id": True}, "owner_id"),
        ({"tenant_id": 2}, "tenant_id"),
        ({"owner": 2}, "owner"),
        ({"role": "owner"}, "role"),
        ({"last_number": 7}, "last_number"),
        ({"id": 7}, "id"),
    ],
)
def test_refused_project_is_not_stored(fixtures, as_, events, body, where):
    client = as_(fixtures.boss)
    before = len(events(fixtures.acme))

    r = create(client, **body)

    assert r.status_code == 422, r.json()
    assert [e["pointer"] for e in r.json()["errors"]] == [f"#/{where}"]
    assert len(events(fixtures.acme)) == before
    with inside(fixtures.acme):
        assert (Project.objects.count(), ProjectMember.objects.count()) == (1, 4)


def test_only_administrators_create_projects_for_other_users(fixtures, as_):
    body = {"owner_id": fixtures.bob.user.pk}

    assert create(as_(fixtures.ada), **body).status_code == 403
    made = create(as_(fixtures.boss), **body).json()
    assert (made["owner"]["handle"], made["role"]) == ("bob", None)
    assert as_(fixtures.bob).get(f"/projects/{made['id']}").json()["role"] == "owner"


def test_owner_of_another_tenant_is_unknown(fixtures, as_):
    theirs = create(as_(fixtures.boss), owner_id=fixtures.mallory.user.pk)
    nobodys = create(as_(fixtures.boss), owner_id=10**9)

    assert theirs.status_code == nobodys.status_code == 422
    shown = hide_id(theirs.json()["errors"], fixtures.mallory.user.pk)
    assert shown == hide_id(nobodys.json()["errors"], 10**9)


def test_deactivated_owner_is_refused(fixtures, as_):
    boss = as_(fixtures.boss)
    boss.patch(f"/users/{fixtures.eve.user.pk}", {"is_active": False})

    r = create(boss, owner_id=fixtures.eve.user.pk)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/owner_id")


def test_token_limited_to_projects_is_refused(fixtures, as_):
    for actor in (fixtures.ada, fixtures.boss):
        r = create(as_(actor, project_ids=[fixtures.apollo.pk]))
        assert (r.status_code, r.json()["code"]) == (403, "forbidden")


def test_read_only_token_is_refused(fixtures, as_):
    assert create(as_(fixtures.ada, "read")).status_code == 403


def test_failure_after_the_project_row_stores_nothing(fixtures, as_, events, monkeypatch):
    client = as_(fixtures.ada)
    before = len(events(fixtures.acme))
    monkeypatch.setattr(
        projects,
        "ProjectMember",
        lambda **values: ProjectMember(**values | {"role": "king"}),  # there is no such role
    )

    r = create(client)

    assert r.status_code == 422
    assert len(events(fixtures.acme)) == before
    with inside(fixtures.acme):
        assert Project.objects.count() == 1
