"""The ids in responses are those that requests take."""

from __future__ import annotations

import json

import pytest

from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database


def test_nested_user_has_its_id_beside_it():
    schemas = api_document()["components"]["schemas"]
    nested = [
        (name, field)
        for name, schema in schemas.items()
        for field, value in schema.get("properties", {}).items()
        if "schemas/UserRef" in json.dumps(value)
    ]

    assert ("TaskResponse", "assignee") in nested
    assert ("ProjectMemberResponse", "user") in nested
    for name, field in nested:
        assert f"{field}_id" in schemas[name]["properties"], name


def test_ids_of_a_task_are_written_as_they_were_read(fixtures, as_):
    client = as_(fixtures.ada)
    task = client.get("/tasks/APO-1").json()

    assert task["assignee_id"] == task["assignee"]["id"] == fixtures.ada.user.pk
    assert task["created_by_id"] == task["created_by"]["id"] == fixtures.ada.user.pk
    sent = {name: task[name] for name in ("assignee_id", "parent_id")}
    assert client.patch("/tasks/APO-1", sent).json() == task
    assert (
        client.post("/tasks/APO-1/assignment", {"assignee_id": task["assignee_id"]}).json() == task
    )


def test_task_without_assignee_has_null_as_its_id(fixtures, as_):
    r = as_(fixtures.ada).patch("/tasks/APO-1", {"assignee_id": None})

    assert (r.json()["assignee_id"], r.json()["assignee"]) == (None, None)


def test_nested_agent_has_the_id_of_its_responsible_user(fixtures, as_):
    client = as_(fixtures.ada)

    bot = client.patch("/tasks/APO-1", {"assignee": "@bot"}).json()["assignee"]
    ada = client.patch("/tasks/APO-1", {"assignee": "@ada"}).json()["assignee"]

    assert (bot["responsible_id"], ada["responsible_id"]) == (fixtures.ada.user.pk, None)


@pytest.mark.parametrize("kind", ["comment", "page", "project"])
def test_ids_of_the_other_types_are_those_of_their_users(fixtures, as_, kind):
    client, ada = as_(fixtures.ada), fixtures.ada.user.pk
    row = {
        "comment": lambda: client.post("/comments", {"task": "APO-1", "body": "x"}).json(),
        "page": lambda: client.post("/pages", {"project": "APO", "title": "x"}).json(),
        "project": lambda: client.get("/projects/APO").json(),
    }[kind]()

    field = "author" if kind == "comment" else "owner"
    assert row[f"{field}_id"] == row[field]["id"] == ada
