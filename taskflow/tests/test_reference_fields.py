"""Every field of a body that takes an id has another one that takes keys, handles and `me` too."""

from __future__ import annotations

import pytest

from accounts.models import User
from taskflow.http.references import name_with_ids
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.models import Project, Task
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database

DOCUMENT = api_document()
SCHEMAS = DOCUMENT["components"]["schemas"]
# Ids that name no user, project or task.
OTHER_IDS = {"request_id", "event_ids"}


def names_of_schemas(node):
    """The components that a part of the document refers to, also through other components."""
    names, parts = set(), [node]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in names:
                names.add(name)
                parts.append(SCHEMAS[name])
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return names


BODY_SCHEMAS = sorted(
    set().union(
        *(
            names_of_schemas(operation["requestBody"])
            for methods in DOCUMENT["paths"].values()
            for operation in methods.values()
            if "requestBody" in operation
        )
    )
)
ID_FIELDS = [
    (schema, name)
    for schema in BODY_SCHEMAS
    for name in SCHEMAS[schema].get("properties", {})
    if name.endswith(("_id", "_ids")) and name not in OTHER_IDS
]


def types_of(schema):
    members = schema.get("anyOf", [schema])
    items = [member["items"] for member in members if member.get("type") == "array"]
    return {m["type"] for m in members} | {t for item in items for t in types_of(item)}


@pytest.mark.parametrize(("schema", "name"), ID_FIELDS)
def test_field_of_ids_has_one_of_references(schema, name):
    properties = SCHEMAS[schema]["properties"]
    sibling = next(n for n in properties if n != name and name_with_ids(n) == name)

    assert types_of(properties[sibling]) == types_of(properties[name]) | {"string"}


# By schema and field: a request, and how the row that it named is read from the response. The
# values are those of NAMES.
OWNER = ("owner", lambda row: row["owner"]["id"])
ASSIGNEE = ("assignee", lambda row: row["assignee"]["id"])
PARENT = ("parent", lambda row: row["parent_id"])
PROJECT = ("project", lambda row: row["project_id"])
NEW_TASK = {"title": "x", "project": "APO"}
REQUESTS = [
    ("post", "/tasks", {"title": "x"}, *PROJECT),
    ("post", "/tasks", NEW_TASK, *ASSIGNEE),
    ("post", "/tasks", NEW_TASK, *PARENT),
    ("patch", "/tasks/APO-2", {}, *ASSIGNEE),
    ("patch", "/tasks/APO-2", {}, *PARENT),
    ("put", "/projects/APO/tasks/by-ref/r", {"title": "x"}, *ASSIGNEE),
    ("put", "/projects/APO/tasks/by-ref/r", {"title": "x"}, *PARENT),
    ("post", "/tasks/APO-2/assignment", {}, *ASSIGNEE),
    ("post", "/tasks/APO-2/move", {}, *PROJECT),
    ("post", "/projects", {"name": "Zeus"}, *OWNER),
    ("patch", "/projects/APO", {}, *OWNER),
    ("post", "/projects/APO/members", {}, "user", lambda row: row["user"]["id"]),
    ("post", "/comments", {"body": "x"}, "task", lambda row: row["task_id"]),
    ("post", "/pages", {"title": "x"}, *PROJECT),
    ("post", "/pages", {"title": "x", "project": "APO"}, *OWNER),
    ("post", "/tokens", {"name": "x"}, "projects", lambda row: row["project_ids"][0]),
    ("post", "/tokens", {"name": "x"}, "user", lambda row: row["user_id"]),
    (
        "post",
        "/users",
        {"kind": "agent", "handle": "new"},
        "responsible",
        lambda row: row["responsible_id"],
    ),
    ("patch", "/users/@bot", {}, "responsible", lambda row: row["responsible_id"]),
]
USERS = {"assignee", "owner", "user", "responsible"}


@pytest.fixture
def names(fixtures):
    """For each model: one row, and the ways to name it."""
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.boss, name="Zeus", key="ZEU")
        TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Second")
        boss = fixtures.boss.user.pk
        return {
            User: (boss, ["me", "@boss", "@BOSS", boss, str(boss)]),
            Project: (other.pk, ["ZEU", "zeu", other.pk, str(other.pk)]),
            Task: (fixtures.task.pk, ["APO-1", "apo-1", fixtures.task.pk]),
        }


def model_of(field):
    if field in USERS:
        return User
    return Project if field.startswith("project") else Task


@pytest.mark.parametrize(("method", "path", "body", "field", "read"), REQUESTS)
def test_reference_takes_ids_keys_handles_and_me(
    fixtures, as_, names, method, path, body, field, read
):
    client = as_(fixtures.boss)
    pk, ways = names[model_of(field)]
    id_field = name_with_ids(field)

    def send(name, value):
        sent = body | {name: [value] if name.endswith("s") else value}
        return getattr(client, method)(f"{path}?dry_run=true", sent)

    expected = read(send(id_field, pk).json())
    assert expected == pk
    for value in ways:
        r = send(field, value)
        assert r.status_code in (200, 201), (value, r.content)
        assert read(r.json()) == pk


@pytest.mark.parametrize(("method", "path", "body", "field", "read"), REQUESTS)
def test_invisible_and_unknown_reference_gets_the_same_problem(
    fixtures, as_, names, method, path, body, field, read
):
    client = as_(fixtures.boss)
    hidden = {User: fixtures.mallory.user, Project: fixtures.secret, Task: fixtures.secret_task}
    pk = hidden[model_of(field)].pk

    def refuse(name, value):
        sent = body | {name: [value] if name.endswith("s") else value}
        r = getattr(client, method)(path, sent)
        (error,) = r.json()["errors"]
        assert (r.status_code, error["code"]) == (422, "unknown_reference")
        pointer = f"#/{name}/0" if name.endswith("s") else f"#/{name}"
        assert error["pointer"] == pointer
        return r.json()["detail"].replace(str(value), "…")

    for name in (field, name_with_ids(field)):
        assert refuse(name, pk) == refuse(name, pk + 1000)


def test_every_field_of_ids_is_in_the_table():
    tested = {name_with_ids(field) for *_, field, _ in REQUESTS}

    assert {name for _, name in ID_FIELDS} == tested


def test_both_fields_of_one_row_are_refused(fixtures, as_):
    client = as_(fixtures.boss)
    for path, body in (
        ("/tokens", {"name": "x", "projects": ["APO"], "project_ids": [fixtures.apollo.pk]}),
        ("/tokens", {"name": "x", "user": "me", "user_id": fixtures.boss.user.pk}),
        ("/users", {"kind": "agent", "responsible": "me", "responsible_id": None}),
    ):
        r = client.post(path, body)
        assert (r.status_code, "not both" in r.json()["detail"]) == (422, True)


def test_first_tasks_of_a_project_may_be_blocked_by_tasks_given_by_key(fixtures, as_):
    client = as_(fixtures.ada)
    tasks = [{"title": "a", "ref": "APO-1"}, {"title": "b", "blocked_by": ["APO-1"]}]
    own = client.post("/projects", {"name": "Own", "key": "OWN", "tasks": tasks})
    other = {"title": "a", "blocked_by": ["apo-1"]}
    client.post("/projects", {"name": "Key", "key": "KEY", "tasks": [other]})
    hidden = client.post("/projects", {"name": "x", "tasks": [other | {"blocked_by": ["SEC-1"]}]})

    assert own.status_code == 201, own.content
    own_tasks = client.get("/tasks?project=OWN&sort=number").json()["data"]
    assert own_tasks[1]["blocked_by"] == [own_tasks[0]["id"]]
    assert client.get("/tasks/KEY-1").json()["blocked_by"] == [fixtures.task.pk]
    assert hidden.json()["errors"][0]["pointer"] == "#/tasks/0/blocked_by/0"


def test_undo_names_its_actor_and_project_by_id_too(fixtures, as_):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"title": "New"})
    selection = {"actor": fixtures.ada.user.pk, "since": "2026-01-01T00:00:00Z"}

    r = client.post("/undo?dry_run=true", selection | {"project": fixtures.apollo.pk})

    assert r.status_code in (200, 409), r.content
    assert r.json().get("code") in (None, "cannot_undo")
