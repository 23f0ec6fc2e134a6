from __future__ import annotations

import pytest

from conftest import hide_id
from taskflow.tenancy import inside
from tasks.changes.tasks import complete_task, reopen_task, update_task
from tasks.models import Status, Tag, Task

pytestmark = pytest.mark.one_database

CHANGES = {
    "title": "New",
    "description": "d",
    "status": "in_progress",
    "priority": "low",
    "due_on": "2027-01-01",
    "due_date": "2027-01-01T10:00:00Z",
    "metadata": {"k": [1]},
    "external_ref": "r",
    "assignee_id": "bob",
    "parent_id": "other",
    "tags": ["b", "c"],
}
FULL = {
    "description": "before",
    "priority": "high",
    "metadata": {"before": 1},
    "external_ref": "before",
    "tags": ["a", "b"],
}


def as_sent(task):
    """Return the response with the field names of a request."""
    sent = task | {"tags": [t["name"] for t in task["tags"]]}
    times = ("updated_at", "last_activity_at")
    return {k: v for k, v in sent.items() if k not in ("assignee", *times)}


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize("field", CHANGES)
def test_updating_one_field_keeps_the_others(fixtures, as_, events, method, field):
    client = as_(fixtures.bob)
    other = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "other"}).json()
    ids = {"bob": fixtures.bob.user.pk, "other": other["id"]}
    client.patch("/tasks/APO-1", FULL)
    before = client.get("/tasks/APO-1").json()
    value = CHANGES[field]
    value = ids[value] if field in ("assignee_id", "parent_id") else value

    r = getattr(client, method)("/tasks/APO-1", {field: value})

    was, now = as_sent(before), as_sent(r.json())
    assert {k: v for k, v in now.items() if v != was[k]} == {field: value, "version": 3}
    assert r.json()["updated_at"] > before["updated_at"]
    event = events(fixtures.acme, subject_type="task")[-1]
    assert event.changes.keys() == {field.removesuffix("_id")}


def test_updating_all_fields_records_one_event(fixtures, as_, events):
    client = as_(fixtures.bob)
    sent = {k: v for k, v in CHANGES.items() if k not in ("due_date", "parent_id")}

    r = client.patch("/tasks/APO-1", sent | {"assignee_id": fixtures.bob.user.pk})

    assert (r.status_code, r.json()["version"]) == (200, 2)
    (event,) = events(fixtures.acme, subject_type="task", verb="changed")
    assert event.changes.keys() == {k.removesuffix("_id") for k in sent}
    assert event.changes["assignee"] == [fixtures.ada.user.pk, fixtures.bob.user.pk]
    assert event.changes["due_on"] == [None, "2027-01-01"]


def test_null_empties_optional_fields(fixtures, as_):
    client = as_(fixtures.ada)
    body = {"project_id": fixtures.apollo.pk, "title": "x", "due_date": "2027-01-01T10:00:00Z"}
    body |= FULL | {"assignee_id": fixtures.bob.user.pk, "parent_id": fixtures.task.pk}
    task = client.post("/tasks", body).json()
    empty = dict.fromkeys(["assignee_id", "parent_id", "due_date", "due_on", "external_ref"])

    r = client.patch(f"/tasks/{task['id']}", empty | {"tags": []})

    assert r.status_code == 200
    for name in ("assignee", "parent_id", "due_date", "due_on", "external_ref"):
        assert r.json()[name] is None
    assert r.json()["tags"] == []
    assert (r.json()["title"], r.json()["metadata"]) == ("x", {"before": 1})


@pytest.mark.parametrize("name", ["title", "status", "priority", "description", "metadata", "tags"])
def test_null_is_refused_for_required_fields(fixtures, as_, name):
    r = as_(fixtures.ada).patch("/tasks/APO-1", {name: None})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, f"#/{name}")


@pytest.mark.parametrize("name", ["project_id", "created_by", "created_by_id", "number", "key", "version", "completed", "completed_at", "created_at", "tenant_id", "id"])  # fmt: skip
def test_read_only_fields_are_refused(fixtures, as_, name):
    client = as_(fixtures.ada)
    before = client.get("/tasks/APO-1").json()

    r = client.patch("/tasks/APO-1", {"title": "half", name: 1})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, f"#/{name}")
    assert client.get("/tasks/APO-1").json() == before


def test_updating_with_present_values_changes_nothing(fixtures, as_, events):
    client = as_(fixtures.bob)
    client.patch("/tasks/APO-1", FULL | {"due_date": "2027-01-01T10:00:00.123456Z"})
    before = client.get("/tasks/APO-1")
    count = len(events(fixtures.acme))
    fields = ("title", "status", "priority", "due_on", "metadata", "external_ref", "parent_id")

    same = {k: before.json()[k] for k in fields} | {
        "tags": ["B", "a"],
        "assignee_id": fixtures.ada.user.pk,
        "due_date": "2027-01-01T12:00:00.123456+02:00",
    }
    after = client.patch("/tasks/APO-1", same)

    assert after.json() == before.json()
    assert after.headers["ETag"] == before.headers["ETag"]
    assert client.patch("/tasks/APO-1", {}).json() == before.json()
    assert len(events(fixtures.acme)) == count


def test_version_increases_by_one_with_each_change(fixtures, as_):
    client = as_(fixtures.bob)

    versions = [client.patch("/tasks/APO-1", {"title": t}).json()["version"] for t in "aabbca"]

    assert versions == [2, 2, 3, 3, 4, 5]


def test_metadata_true_and_1_are_different(fixtures, as_):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"metadata": {"a": [1], "b": {"c": 0}}})

    r = client.patch("/tasks/APO-1", {"metadata": {"a": [True], "b": {"c": False}}})

    assert r.json()["version"] == 3
    assert r.json()["metadata"]["a"][0] is True
    assert r.json()["metadata"]["b"]["c"] is False


# ---- due ----------------------------------------------------------------------------------------


def test_setting_the_second_due_field_is_refused(fixtures, as_):
    client = as_(fixtures.bob)
    instant, day = {"due_date": "2026-12-24T10:00:00Z"}, {"due_on": "2026-12-24"}
    for first, second in ((instant, day), (day, instant)):
        client.patch("/tasks/APO-1", {"due_date": None, "due_on": None})
        client.patch("/tasks/APO-1", first)

        r = client.patch("/tasks/APO-1", second)

        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/due_on")
        (name,) = first
        moved = client.patch("/tasks/APO-1", second | {name: None})
        assert {k: moved.json()[k] for k in second} == second
        assert moved.json()[name] is None


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Adak"])
def test_due_on_is_the_same_in_every_time_zone(fixtures, as_, zone, settings):
    settings.TIME_ZONE = zone
    client = as_(fixtures.bob)
    for day in ("2026-01-01", "2026-03-29", "2026-10-25", "2026-12-31", "1970-01-01", "2199-12-31"):
        assert client.patch("/tasks/APO-1", {"due_on": day}).json()["due_on"] == day
        assert client.get("/tasks/APO-1").json()["due_on"] == day


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2026-03-29T02:30:00+01:00", "2026-03-29T01:30:00Z"),
        ("2026-12-31T23:30:00-05:00", "2027-01-01T04:30:00Z"),
        ("2026-12-31T23:30:00.123z", "2026-12-31T23:30:00.123000Z"),
        ("2026-06-01T00:00:00+14:00", "2026-05-31T10:00:00Z"),
    ],
)
def test_times_are_returned_in_utc(fixtures, as_, sent, answered):
    client = as_(fixtures.bob)

    assert client.patch("/tasks/APO-1", {"due_date": sent}).json()["due_date"] == answered
    assert client.get("/tasks/APO-1").json()["due_date"] == answered


# ---- status -------------------------------------------------------------------------------------


def test_completed_at_follows_the_status(fixtures, as_, events):
    client = as_(fixtures.bob)

    tasks = [
        client.patch("/tasks/APO-1", {"status": s}).json()
        for s in ("in_progress", "done", "done", "in_progress", "done", "todo")
    ]

    assert [a["completed"] for a in tasks] == [False, True, True, False, True, False]
    assert [a["completed_at"] is not None for a in tasks] == [a["completed"] for a in tasks]
    assert tasks[1]["completed_at"] == tasks[2]["completed_at"] < tasks[4]["completed_at"]
    assert [e.verb for e in events(fixtures.acme, subject_type="task")] == [
        "created", "changed", "completed", "reopened", "completed", "reopened",
    ]  # fmt: skip


def test_rules_read_the_stored_status(fixtures, events):
    """Another user completed the task after it was read."""
    with inside(fixtures.acme):
        again, back, reopened = (Task.objects.get() for _ in range(3))
        complete_task(fixtures.bob, Task.objects.get())
        count = len(events(fixtures.acme))

        update_task(fixtures.ada, again, status=Status.DONE)
        assert len(events(fixtures.acme)) == count

        update_task(fixtures.ada, back, status=Status.TODO)
        stored = Task.objects.get()
        assert (stored.status, stored.completed_at, stored.version) == ("todo", None, 3)

        complete_task(fixtures.bob, Task.objects.get())
        reopen_task(fixtures.ada, reopened)
        stored = Task.objects.get()
        assert (stored.status, stored.completed_at, stored.version) == ("todo", None, 5)


# ---- references ---------------------------------------------------------------------------------


def test_assignee_who_is_no_member_is_refused(fixtures, as_):
    r = as_(fixtures.bob).patch("/tasks/APO-1", {"assignee_id": fixtures.eve.user.pk})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/assignee_id")


def test_present_assignee_who_left_can_be_sent_again(fixtures, as_):
    """Otherwise a client that sends back what it read could save nothing else."""
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"assignee_id": fixtures.bob.user.pk})
    as_(fixtures.boss).patch(f"/users/{fixtures.bob.user.pk}", {"is_active": False})

    r = client.patch("/tasks/APO-1", {"assignee_id": fixtures.bob.user.pk, "title": "y"})

    assert (r.status_code, r.json()["title"]) == (200, "y")


@pytest.mark.parametrize("name", ["assignee_id", "parent_id"])
def test_ids_of_another_tenant_are_unknown(fixtures, as_, name):
    theirs = {"assignee_id": fixtures.mallory.user.pk, "parent_id": fixtures.secret_task.pk}[name]
    client = as_(fixtures.ada)

    r, nobodys = (client.patch("/tasks/APO-1", {name: pk}) for pk in (theirs, 10**9))

    assert r.status_code == nobodys.status_code == 422
    shown = hide_id(r.json()["errors"], theirs)
    assert shown == hide_id(nobodys.json()["errors"], 10**9)


def test_taken_external_ref_is_a_conflict(fixtures, as_):
    client = as_(fixtures.ada)
    client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x", "external_ref": "r"})

    r = client.patch("/tasks/APO-1", {"external_ref": "r", "title": "half"})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert client.get("/tasks/APO-1").json()["title"] == "Launch"


def test_updating_tags_replaces_them(fixtures, as_, events):
    client = as_(fixtures.bob)
    client.patch("/tasks/APO-1", {"tags": ["a", "b"]})

    r = client.patch("/tasks/APO-1", {"tags": ["B", "c"]})

    assert [t["name"] for t in r.json()["tags"]] == ["b", "c"]
    with inside(fixtures.acme):
        ids = {t.name: t.pk for t in Tag.objects.all()}
    before, after = events(fixtures.acme, subject_type="task")[-1].changes["tags"]
    assert (before, after) == ([ids["a"], ids["b"]], [ids["b"], ids["c"]])


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).patch(f"/tasks/{fixtures.task.pk}", {"title": "x"}).status_code == 404
