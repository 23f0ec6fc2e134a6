from __future__ import annotations

import pytest

from accounts.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.tasks import create_task
from tasks.models import Task

FULL = {
    "title": "Pack the flag",
    "description": "**Both** flags.\n\nÜmläute, 日本語 and 🚀",
    "status": "in_progress",
    "priority": "high",
    "tags": ["luggage"],
    "due_date": "2026-12-01T10:00:00+02:00",
    "metadata": {"weight": 2.5, "fragile": None},
    "external_ref": "ext-1",
}


def create(client, world, **changes):
    return client.post("/tasks", {"project_id": world.apollo.pk, "title": "x"} | changes)


# ---- creating -----------------------------------------------------------------------------------


def test_creating_with_everything(world, as_, events):
    more = {"assignee_id": world.bob.user.pk, "parent_id": world.task.pk}

    r = create(as_(world.ada), world, **FULL, **more)

    assert r.status_code == 201, r.json()
    task = r.json()
    expected = FULL | {"due_date": "2026-12-01T08:00:00Z", "key": "APO-2", "number": 2}
    expected |= {"version": 1, "completed": False, "parent_id": world.task.pk, "due_on": None}
    tags = task.pop("tags")
    assert {k: task[k] for k in expected if k != "tags"} == {
        k: v for k, v in expected.items() if k != "tags"
    }
    assert [t["name"] for t in tags] == ["luggage"]
    assert (task["assignee"]["handle"], task["created_by"]["handle"]) == ("bob", "ada")
    assert r.headers["ETag"] == f'"{task["id"]}-1"'
    event = events(world.acme, subject_type="task")[-1]
    assert (event.verb, event.project_id) == ("created", world.apollo.pk)
    assert event.changes["title"] == [None, "Pack the flag"]


def test_numbers_count_up_in_each_project(world, as_):
    with inside(world.acme):
        other = create_project(world.ada, name="Other", key="OTH")
    client = as_(world.ada)

    keys = [create(client, world, project_id=p).json()["key"] for p in (world.apollo.pk, other.pk, world.apollo.pk)]  # fmt: skip

    assert keys == ["APO-2", "OTH-1", "APO-3"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"title": ""}, "#/title"),
        ({"title": None}, "#/title"),
        ({"title": 5}, "#/title"),
        ({"title": "x" * 501}, "#/title"),
        ({"description": "x" * 65_537}, "#/description"),
        ({"status": "open"}, "#/status"),
        ({"priority": 1}, "#/priority"),
        ({"assignee_id": 10**9}, "#/assignee_id"),
        ({"assignee_id": "1"}, "#/assignee_id"),
        ({"parent_id": 10**9}, "#/parent_id"),
        ({"project_id": 10**9}, "#/project_id"),
        ({"project_id": None}, "#/project_id"),
        ({"due_date": "2026-12-01T10:00:00"}, "#/due_date"),
        ({"due_date": 5}, "#/due_date"),
        ({"due_date": "0001-01-01T00:00:00+14:00"}, "#/due_date"),
        ({"due_on": "2200-01-01"}, "#/due_on"),
        ({"due_on": "tomorrow"}, "#/due_on"),
        ({"due_on": "2026-12-01", "due_date": "2026-12-01T10:00:00Z"}, "#/due_on"),
        ({"tags": ["x"] * 51}, "#/tags"),
        ({"tags": [""]}, "#/tags/0"),
        ({"metadata": {"a": "x" * 40_000}}, "#/metadata"),
        ({"external_ref": ""}, "#/external_ref"),
        ({"created_by": 1}, "#/created_by"),
        ({"created_by_id": 1}, "#/created_by_id"),
        ({"tenant_id": 2}, "#/tenant_id"),
        ({"version": 7}, "#/version"),
        ({"number": 7}, "#/number"),
        ({"completed_at": None}, "#/completed_at"),
    ],
)
def test_a_refused_task_leaves_nothing(world, as_, events, body, where):
    before = len(events(world.acme))
    client = as_(world.ada)

    r = create(client, world, **body)

    assert r.status_code == 422, r.json()
    assert where in [e["pointer"] for e in r.json()["errors"]]
    assert len(events(world.acme)) == before + 1  # the client's token
    assert create(client, world).json()["number"] == 2


def test_the_assignee_must_see_the_task(world, as_):
    r = create(as_(world.ada), world, assignee_id=world.eve.user.pk)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/assignee_id")
    for seen in (world.boss, world.bot):
        assert create(as_(world.ada), world, assignee_id=seen.user.pk).status_code == 201


def test_an_external_ref_is_unique_in_its_project(world, as_):
    with inside(world.acme):
        other = create_project(world.ada, name="Other")
    client = as_(world.ada)

    first, same, elsewhere = (
        create(client, world, external_ref="r", project_id=p)
        for p in (world.apollo.pk, world.apollo.pk, other.pk)
    )

    assert [r.status_code for r in (first, same, elsewhere)] == [201, 409, 201]
    assert same.json()["detail"] == "Another task of the project has this external_ref."


# ---- changing -----------------------------------------------------------------------------------

CHANGES = {
    "title": "New",
    "description": "d",
    "status": "in_progress",
    "priority": "low",
    "due_on": "2027-01-01",
    "metadata": {"k": [1]},
    "external_ref": "r",
}


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize("field", CHANGES)
def test_changing_one_field_leaves_the_others(world, as_, method, field):
    client = as_(world.bob)
    before = client.get("/tasks/APO-1").json()

    after = getattr(client, method)("/tasks/APO-1", {field: CHANGES[field]}).json()

    changed = {k: v for k, v in after.items() if v != before[k] and k != "updated_at"}
    assert changed == {field: CHANGES[field], "version": 2}


def test_null_empties_what_may_be_empty(world, as_):
    client = as_(world.ada)
    task = create(client, world, **FULL, assignee_id=world.bob.user.pk, parent_id=world.task.pk)
    empty = dict.fromkeys(["assignee_id", "parent_id", "due_date", "external_ref"])

    after = client.patch(f"/tasks/{task.json()['id']}", empty | {"tags": []}).json()

    assert [after[k] for k in ("assignee", "parent_id", "due_date", "external_ref", "tags")] == [
        None, None, None, None, [],
    ]  # fmt: skip
    for name in ("title", "status", "priority", "description", "metadata", "tags"):
        assert client.patch("/tasks/APO-1", {name: None}).status_code == 422


def test_nothing_that_differs_changes_nothing(world, as_, events):
    client = as_(world.bob)
    before = client.get("/tasks/APO-1")
    count = len(events(world.acme))

    same = {k: before.json()[k] for k in ("title", "status", "priority", "due_on", "metadata")}
    after = client.patch("/tasks/APO-1", same)

    assert after.json() == before.json()
    assert after.headers["ETag"] == before.headers["ETag"]
    assert client.patch("/tasks/APO-1", {}).status_code == 200
    assert len(events(world.acme)) == count


def test_due_date_and_due_on_exclude_each_other_over_time(world, as_):
    client = as_(world.bob)
    client.patch("/tasks/APO-1", {"due_on": "2026-12-24"})

    r = client.patch("/tasks/APO-1", {"due_date": "2026-12-24T10:00:00Z"})

    assert r.status_code == 422
    moved = client.patch("/tasks/APO-1", {"due_date": "2026-12-24T10:00:00Z", "due_on": None})
    assert (moved.json()["due_date"], moved.json()["due_on"]) == ("2026-12-24T10:00:00Z", None)


def test_a_day_never_moves(world, as_):
    client = as_(world.bob)
    for day in ("2026-01-01", "2026-03-29", "2026-12-31", "1970-01-01", "2199-12-31"):
        assert client.patch("/tasks/APO-1", {"due_on": day}).json()["due_on"] == day


def test_completed_at_follows_the_status(world, as_):
    client = as_(world.bob)

    done = client.patch("/tasks/APO-1", {"status": "done"}).json()
    back = client.patch("/tasks/APO-1", {"status": "in_progress"}).json()

    assert (done["completed"], done["completed_at"] is None) == (True, False)
    assert (back["completed"], back["completed_at"]) == (False, None)


@pytest.mark.parametrize("ref", ["{id}", "APO-1", "apo-1"])
def test_a_key_serves_wherever_an_id_does(world, as_, ref):
    path = "/tasks/" + ref.format(id=world.task.pk)
    client = as_(world.bob)

    assert client.get(path).status_code == 200
    assert client.patch(path, {"title": "y"}).status_code == 200
    assert client.post(f"{path}/completion").status_code == 200
    assert client.delete(f"{path}/completion").status_code == 200
    assert client.delete(path).status_code == 204


# ---- subtasks -----------------------------------------------------------------------------------


def chain(world, length):
    """Tasks, each below the one before."""
    with inside(world.acme):
        tasks = [create_task(world.ada, world.apollo, title="top")]
        for number in range(length - 1):
            tasks.append(create_task(world.ada, world.apollo, title=str(number), parent=tasks[-1]))
    return [t.pk for t in tasks]


def test_subtasks_go_five_levels_deep(world, as_):
    tasks = chain(world, 5)
    client = as_(world.ada)

    r = create(client, world, parent_id=tasks[-1])

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "too_deep")
    assert create(client, world, parent_id=tasks[-2]).status_code == 201
    assert client.patch(f"/tasks/{tasks[0]}", {"parent_id": world.task.pk}).status_code == 422
    assert client.patch(f"/tasks/{tasks[1]}", {"parent_id": world.task.pk}).status_code == 200


def test_a_cycle_is_refused(world, as_):
    tasks = chain(world, 3)

    for below in tasks:
        r = as_(world.ada).patch(f"/tasks/{tasks[0]}", {"parent_id": below})
        assert (r.status_code, r.json()["code"]) == (409, "cycle")


def test_a_parent_is_in_the_same_project(world, as_):
    with inside(world.acme):
        other = create_project(world.ada, name="Other")
        there = create_task(world.ada, other, title="there")

    assert create(as_(world.ada), world, parent_id=there.pk).status_code == 422


def test_deleting_takes_the_subtasks_along_on_record(world, as_, events):
    tasks = chain(world, 4)

    assert as_(world.bob).delete(f"/tasks/{tasks[1]}").status_code == 204

    with inside(world.acme):
        assert set(Task.objects.values_list("pk", flat=True)) == {world.task.pk, tasks[0]}
    gone = events(world.acme, verb="deleted")
    assert [e.subject_id for e in gone] == tasks[1:]
    assert gone[0].changes["title"] == ["0", None]


# ---- cost ---------------------------------------------------------------------------------------


def test_writing_costs_a_known_number_of_queries(world, as_, assert_statements):
    client = as_(world.bob)
    client.get("/me")  # notes the token's first use
    with assert_statements(3):  # token, task, its tags
        client.get("/tasks/APO-1")
    # token; project, role, number (2); insert, event; answer (2)
    with assert_statements(9):
        create(client, world)
    # token; task, its tags; role; lock, update, event; answer (2)
    with assert_statements(9):
        client.patch("/tasks/APO-1", {"title": "y"})
