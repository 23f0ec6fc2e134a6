from __future__ import annotations

import pytest

from accounts.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.tasks import create_task
from tasks.models import Project, ProjectMember, Status, Task


def test_creating_makes_its_owner_the_first_member(world, as_, events):
    r = as_(world.eve).post("/projects", {"name": "Moon Landing", "metadata": {"a": [1, None]}})

    assert r.status_code == 201
    body = r.json()
    assert (body["key"], body["role"], body["owner"]["handle"]) == ("ML", "owner", "eve")
    assert body["task_counts"] == {"todo": 0, "in_progress": 0, "done": 0}
    assert body["metadata"] == {"a": [1, None]}
    assert r.headers["Location"] == f"/api/v1/projects/{body['id']}"
    assert r.headers["ETag"]
    made = events(world.acme, project_id=body["id"])
    assert [(e.subject_type, e.verb) for e in made] == [
        ("project", "created"),
        ("projectmember", "joined"),
    ]


@pytest.mark.parametrize(
    ("name", "key"),
    [("Zeus", "ZEU"), ("Web site relaunch", "WSR"), ("日本語", "PRJ"), ("Ärger & Öl", "AO"), ("x", "PRJ"),
     ("One two three four five six", "OTTF"), ("123", "PRJ")],
)  # fmt: skip
def test_a_key_is_made_from_the_name(world, as_, name, key):
    assert as_(world.ada).post("/projects", {"name": name}).json()["key"] == key


def test_a_made_key_avoids_those_that_are_taken(world, as_):
    keys = [as_(world.ada).post("/projects", {"name": "Zeus"}).json()["key"] for _ in range(4)]

    assert keys == ["ZEU", "ZEUA", "ZEUB", "ZEUC"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "key": "APO"}, 409),
        ({"name": "x", "key": "apo"}, 422),
        ({"name": "x", "key": "A1"}, 422),
        ({"name": ""}, 422),
        ({"name": "   "}, 422),
        ({"name": "x" * 256}, 422),
        ({"name": None}, 422),
        ({}, 422),
        ({"name": "x", "status": "gone"}, 422),
        ({"name": "x", "tenant_id": 2}, 422),
        ({"name": "x", "metadata": {"a": "x" * 40_000}}, 422),
        ({"name": "x", "metadata": []}, 422),
    ],
)
def test_a_refused_project_is_not_made(world, as_, body, status):
    assert as_(world.ada).post("/projects", body).status_code == status
    with inside(world.acme):
        assert Project.objects.count() == 1


def test_only_administrators_make_projects_for_others(world, as_):
    body = {"name": "x", "owner_id": world.bob.user.pk}

    assert as_(world.ada).post("/projects", body).status_code == 403
    r = as_(world.boss).post("/projects", body)
    assert (r.json()["owner"]["handle"], r.json()["role"]) == ("bob", None)
    assert as_(world.boss).post("/projects", body | {"owner_id": world.mallory.user.pk}).status_code == 422  # fmt: skip


def test_counts_per_status_are_right(world, as_):
    with inside(world.acme):
        for number, status in enumerate([Status.DONE, Status.DONE, Status.IN_PROGRESS]):
            create_task(world.ada, world.apollo, title=str(number), status=status)
        create_project(world.ada, name="Empty")

    counts = {p["key"]: p["task_counts"] for p in as_(world.ada).get("/projects").json()["data"]}

    assert counts["APO"] == {"todo": 1, "in_progress": 1, "done": 2}
    assert counts["EMP"] == {"todo": 0, "in_progress": 0, "done": 0}


@pytest.mark.parametrize("ref", ["{id}", "APO", "apo"])
def test_one_is_found_by_id_or_key(world, as_, ref):
    r = as_(world.bob).get("/projects/" + ref.format(id=world.apollo.pk))

    assert (r.status_code, r.json()["role"]) == (200, "member")


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize(
    "change",
    [{"name": "N"}, {"description": "d"}, {"status": "on_hold"}, {"metadata": {"k": 1}}, {"key": "NEW"}],
)  # fmt: skip
def test_changing_one_field_leaves_the_others(world, as_, method, change):
    client = as_(world.ada)
    before = client.get("/projects/APO").json()

    after = getattr(client, method)(f"/projects/{before['id']}", change).json()

    assert {k: after[k] for k in after if after[k] != before[k] and k != "updated_at"} == change


def test_a_new_owner_becomes_a_member_with_that_role(world, as_):
    r = as_(world.ada).patch("/projects/APO", {"owner_id": world.eve.user.pk})

    assert r.json()["owner"]["handle"] == "eve"
    assert as_(world.eve).get("/projects/APO").json()["role"] == "owner"
    assert as_(world.carl).patch("/projects/APO", {"owner_id": world.carl.user.pk}).status_code == 403  # fmt: skip


def test_null_is_refused_where_it_is_no_value(world, as_):
    for name in ("name", "key", "status", "metadata", "owner_id", "description"):
        assert as_(world.ada).patch("/projects/APO", {name: None}).status_code == 422


def test_deleting_takes_tasks_and_members_along_on_record(world, as_, events):
    assert as_(world.ada).delete("/projects/APO").status_code == 204

    assert as_(world.ada).get("/projects/APO").status_code == 404
    with inside(world.acme):
        assert (Task.objects.count(), ProjectMember.objects.count()) == (0, 0)
    gone = [e.subject_type for e in events(world.acme, verb="deleted")]
    assert gone == ["task", *["projectmember"] * 4, "project"]


def test_lists_filter_and_sort(world, as_):
    with inside(world.acme):
        for name, status in (("Beta", "on_hold"), ("Alpha", "active")):
            create_project(world.bob, name=name, status=status)
    client = as_(world.bob)

    def names(query):
        r = client.get(f"/projects?{query}")
        return [p["name"] for p in r.json()["data"]] if r.status_code == 200 else r.status_code

    assert names("") == ["Alpha", "Beta", "Apollo"]
    assert names("sort=name") == ["Alpha", "Apollo", "Beta"]
    assert names("status=on_hold") == ["Beta"]
    assert names("status=on_hold&status=active&sort=-name") == ["Beta", "Apollo", "Alpha"]
    assert names("owner=me&sort=key") == ["Alpha", "Beta"]
    assert names("owner=@ada") == ["Apollo"]
    assert names("updated_since=2199-01-01T00:00:00Z") == []
    assert names("owner=@nobody") == 422
    assert names("owner=none") == 422
    assert names("sort=owner") == 422
    assert names("colour=red") == 422


def test_lists_cost_the_same_for_many(world, as_, assert_statements):
    client = as_(world.ada)
    client.get("/me")  # notes the token's first use
    for amount in (3, 20):
        with inside(world.acme):
            for number in range(amount):
                create_project(world.ada, name=f"P{amount} {number}")
        with assert_statements(2):  # token, page
            assert client.get("/projects").status_code == 200
