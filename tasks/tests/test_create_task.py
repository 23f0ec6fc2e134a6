from __future__ import annotations

import pytest

from accounts.models import User
from conftest import hide_id
from taskflow.audit.actor import Actor
from taskflow.http.errors import Forbidden
from taskflow.tenancy import inside
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Tag, Task
from tasks.queries.lookup import find_project

FULL = {
    "title": "Pack the flag",
    "description": "**Both** flags.\n\nÜmläute, 日本語 and 🚀",
    "status": "in_progress",
    "priority": "high",
    "tags": ["luggage", "Flags"],
    "due_date": "2026-12-01T10:00:00+02:00",
    "metadata": {"weight": 2.5, "fragile": None, "deep": [{"a": [True, 1]}]},
    "external_ref": "ext-1",
    "links": [{"url": "https://example.com/ä?q=1#x", "title": "Design “v2”"}],
}


def create(client, fixtures, **body):
    return client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x"} | body)


def test_task_with_all_fields_is_stored_and_recorded(fixtures, as_, events):
    more = {"assignee_id": fixtures.bob.user.pk, "parent_id": fixtures.task.pk}

    r = create(as_(fixtures.ada), fixtures, **FULL, **more)

    assert r.status_code == 201, r.json()
    task = dict(r.json())
    small = {"id", "handle", "full_name", "email", "kind", "responsible_id"}
    assert task["assignee"].keys() == task["created_by"].keys() == small
    assert (task.pop("assignee")["handle"], task.pop("created_by")["handle"]) == ("bob", "ada")
    tags = task.pop("tags")
    assert [(t["name"], t["color"]) for t in tags] == [("Flags", None), ("luggage", None)]
    assert task.pop("created_at").endswith("Z")
    assert task.pop("last_activity_at") == task["updated_at"]
    assert task.pop("updated_at").endswith("Z")
    assert task.pop("id") > fixtures.task.pk
    sent = {k: v for k, v in FULL.items() if k != "tags"}
    assert task == sent | {
        "due_date": "2026-12-01T08:00:00Z",
        "due_on": None,
        "key": "APO-2",
        "number": 2,
        "project_id": fixtures.apollo.pk,
        "parent_id": fixtures.task.pk,
        "assignee_id": fixtures.bob.user.pk,
        "created_by_id": fixtures.ada.user.pk,
        "outcome": None,
        "completed": False,
        "ready": True,
        "blocked_by": [],
        "completed_at": None,
        "version": 1,
    }
    assert r.headers["ETag"].startswith(f'"task-{r.json()["id"]}-1-')
    assert r.headers["Location"] == f"/api/v1/tasks/{r.json()['id']}"
    assert as_(fixtures.bob).get("/tasks/APO-2").json() == r.json()
    *made, event = events(fixtures.acme, request_id=r.headers["X-Request-Id"])
    assert [e.subject_type for e in made] == ["tag", "tag"]
    assert (event.verb, event.project_id, event.via) == ("created", fixtures.apollo.pk, "api")
    assert event.changes["title"] == [None, "Pack the flag"]
    assert event.changes["tags"] == [[], sorted(t["id"] for t in tags)]


def test_task_with_only_a_title_has_the_defaults(fixtures, as_):
    task = create(as_(fixtures.bot), fixtures, title="  x ").json()

    assert (task["title"], task["status"], task["priority"]) == ("x", "todo", "medium")
    assert (task["description"], task["metadata"], task["tags"]) == ("", {}, [])
    assert task["links"] == []
    for name in ("assignee", "parent_id", "due_date", "due_on", "external_ref", "completed_at"):
        assert task[name] is None
    assert (task["completed"], task["created_by"]["handle"]) == (False, "bot")


def test_task_created_as_done_has_completed_at(fixtures, as_):
    task = create(as_(fixtures.ada), fixtures, status="done").json()

    assert (task["completed"], task["completed_at"] is None) == (True, False)


def test_numbers_are_consecutive_in_each_project(fixtures, as_):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
    client = as_(fixtures.ada)
    projects = (fixtures.apollo.pk, other.pk, fixtures.apollo.pk, other.pk)

    keys = [create(client, fixtures, project_id=pk).json()["key"] for pk in projects]

    assert keys == ["APO-2", "OTH-1", "APO-3", "OTH-2"]


def test_number_of_a_deleted_task_is_not_used_again(fixtures, as_):
    client = as_(fixtures.ada)
    client.delete("/tasks/APO-1")

    assert create(client, fixtures).json()["key"] == "APO-2"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"title": ""}, "title"),
        ({"title": "   "}, "title"),
        ({"title": None}, "title"),
        ({"title": 5}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"description": "x" * 65_537}, "description"),
        ({"description": None}, "description"),
        ({"status": "open"}, "status"),
        ({"status": None}, "status"),
        ({"priority": 1}, "priority"),
        ({"priority": "urgent"}, "priority"),
        ({"assignee_id": 10**9}, "assignee_id"),
        ({"assignee_id": "1"}, "assignee_id"),
        ({"assignee_id": 0}, "assignee_id"),
        ({"parent_id": 10**9}, "parent_id"),
        ({"parent_id": "APO-1"}, "parent_id"),
        ({"project_id": 10**9}, "project_id"),
        ({"project_id": None}, "project_id"),
        ({"project_id": True}, "project_id"),
        ({"due_date": "2026-12-01T10:00:00"}, "due_date"),
        ({"due_date": "2026-12-01"}, "due_date"),
        ({"due_date": "2026-02-30T10:00:00Z"}, "due_date"),
        ({"due_date": 5}, "due_date"),
        ({"due_date": "5"}, "due_date"),
        ({"due_date": "0001-01-01T00:00:00+14:00"}, "due_date"),
        ({"due_date": "1970-01-01T00:00:00+14:00"}, "due_date"),
        ({"due_date": "2199-12-31T23:00:00-02:00"}, "due_date"),
        ({"due_on": "2200-01-01"}, "due_on"),
        ({"due_on": "1969-12-31"}, "due_on"),
        ({"due_on": "2026-02-30"}, "due_on"),
        ({"due_on": "tomorrow"}, "due_on"),
        ({"due_on": "86400"}, "due_on"),
        ({"due_on": "2026-12-01", "due_date": "2026-12-01T10:00:00Z"}, "due_on"),
        ({"tags": ["x"] * 51}, "tags"),
        ({"tags": None}, "tags"),
        ({"tags": "x"}, "tags"),
        ({"tags": ["ok", ""]}, "tags/1"),
        ({"tags": ["x" * 101]}, "tags/0"),
        ({"tags": [1]}, "tags/0"),
        ({"metadata": {"a": "x" * 40_000}}, "metadata"),
        ({"metadata": {"a": "ü" * 6_000}}, "metadata"),  # 36,000 bytes as JSON
        ({"metadata": None}, "metadata"),
        ({"metadata": [1]}, "metadata"),
        ({"external_ref": ""}, "external_ref"),
        ({"external_ref": "x" * 256}, "external_ref"),
        ({"created_by": 1}, "created_by"),
        ({"created_by_id": 1}, "created_by_id"),
        ({"tenant_id": 2}, "tenant_id"),
        ({"version": 7}, "version"),
        ({"number": 7}, "number"),
        ({"id": 7}, "id"),
        ({"completed": True}, "completed"),
        ({"completed_at": None}, "completed_at"),
        ({"titel": "x"}, "titel"),
    ],
)
def test_invalid_body_is_refused(fixtures, as_, events, body, where):
    client = as_(fixtures.ada)
    before = len(events(fixtures.acme))

    r = create(client, fixtures, **{"tags": ["never made"]} | body)

    assert r.status_code == 422, r.json()
    assert {e["pointer"] for e in r.json()["errors"]} == {f"#/{where}"}
    assert len(events(fixtures.acme)) == before
    with inside(fixtures.acme):
        assert (Task.objects.count(), Tag.objects.count()) == (1, 0)
    assert create(client, fixtures).json()["number"] == 2


def test_missing_title_or_project_is_refused(fixtures, as_):
    r = as_(fixtures.ada).post("/tasks", {})

    assert {e["pointer"] for e in r.json()["errors"]} == {"#/title", "#/project"}


@pytest.mark.parametrize("largest", [{"title": "ü" * 500}, {"description": "ü" * 65_536}, {"tags": [str(n) for n in range(50)]}, {"external_ref": "x" * 255}, {"due_on": "1970-01-01"}, {"due_on": "2199-12-31"}, {"due_date": "1970-01-01T00:00:00Z"}, {"due_date": "2199-12-31T23:59:59.999999Z"}, {"metadata": {"a": "x" * 32_000}}])  # fmt: skip
def test_largest_values_are_accepted(fixtures, as_, largest):
    r = create(as_(fixtures.ada), fixtures, **largest)

    assert r.status_code == 201, r.json()
    if "tags" not in largest:
        assert {k: r.json()[k] for k in largest} == largest


def test_assignee_who_is_no_member_is_refused(fixtures, as_):
    client = as_(fixtures.ada)

    r = create(client, fixtures, assignee_id=fixtures.eve.user.pk)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/assignee_id")
    for seen in (fixtures.boss, fixtures.bot, fixtures.ada):
        assert create(client, fixtures, assignee_id=seen.user.pk).status_code == 201


def test_deactivated_assignee_is_refused(fixtures, as_):
    as_(fixtures.boss).patch(f"/users/{fixtures.bob.user.pk}", {"is_active": False})

    r = create(as_(fixtures.ada), fixtures, assignee_id=fixtures.bob.user.pk)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/assignee_id")


@pytest.mark.parametrize("name", ["project_id", "assignee_id", "parent_id"])
def test_row_of_another_tenant_is_not_found(fixtures, as_, name):
    theirs = {
        "project_id": fixtures.secret.pk,
        "assignee_id": fixtures.mallory.user.pk,
        "parent_id": fixtures.secret_task.pk,
    }
    client = as_(fixtures.ada)

    r, nobodys = (create(client, fixtures, **{name: pk}) for pk in (theirs[name], 10**9))

    assert r.status_code == nobodys.status_code == 422
    shown = hide_id(r.json()["errors"], theirs[name])
    assert shown == hide_id(nobodys.json()["errors"], 10**9)
    assert r.json()["errors"][0]["code"] == "unknown_reference"


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    assert create(as_(fixtures.eve), fixtures).status_code == 422
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk + 999])
    assert create(bound, fixtures).status_code == 422


def test_read_only_token_is_refused(fixtures, as_):
    assert create(as_(fixtures.ada, "read"), fixtures).status_code == 403


def test_taken_external_ref_in_the_project_is_a_conflict(fixtures, as_):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other")
    client = as_(fixtures.ada)

    first, same, elsewhere = (
        create(client, fixtures, external_ref="r", project_id=pk)
        for pk in (fixtures.apollo.pk, fixtures.apollo.pk, other.pk)
    )

    assert [r.status_code for r in (first, same, elsewhere)] == [201, 409, 201]
    assert (same.json()["code"], same.json()["detail"]) == (
        "taken",
        "Another task of the project, maybe one in the trash, has external_ref “r”.",
    )
    assert create(client, fixtures).json()["number"] == 3  # the refused one took none


def test_tags_are_found_without_regard_to_case_or_created(fixtures, as_):
    client = as_(fixtures.bob)
    client.post("/tags", {"name": "Hot", "color": "#D73A4A"})

    task = create(client, fixtures, tags=["hot", " new ", "NEW", "HOT"]).json()

    assert [(t["name"], t["color"]) for t in task["tags"]] == [("Hot", "#D73A4A"), ("NEW", None)]
    with inside(fixtures.acme):
        assert Tag.objects.count() == 2


def test_task_created_by_an_operator_has_no_creator(fixtures, as_):
    """An operator has no row in the tenant, so only the event names them."""
    with inside(fixtures.globex):
        elsewhere = User.objects.get()
    with inside(fixtures.acme):
        task = create_task(Actor(elsewhere, fixtures.acme), fixtures.apollo, title="x")

    assert task.created_by is None
    assert as_(fixtures.ada).get(f"/tasks/{task.pk}").json()["created_by"] is None


def test_project_visible_to_a_member_stays_invisible_to_others(fixtures):
    with inside(fixtures.acme):
        project = find_project(fixtures.bob, "APO")

        for do in (create_task, create_page):
            do(fixtures.bob, project, title="mine")
            with pytest.raises(Forbidden):
                do(fixtures.eve, project, title="x")


def test_tag_names_ignore_case_in_every_script(fixtures, as_):
    client = as_(fixtures.bob)
    for name, again in (("Ärger", "äRGER"), ("ПРОЕКТ", "проект"), ("ΩMEGA", "ωmega")):
        first = create(client, fixtures, tags=[name]).json()["tags"]

        assert create(client, fixtures, tags=[again, name]).json()["tags"] == first
        assert len(client.get("/tasks", {"tag": again}).json()["data"]) == 2
