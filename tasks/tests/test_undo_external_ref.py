"""Undoing the creation of a task frees its external_ref for the task that had it before."""

from __future__ import annotations

import pytest

from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Task
from tasks.tests.factories import ProjectFactory

BY_REF = "/projects/APO/tasks/by-ref/r1"


@pytest.fixture
def client(fixtures, as_):
    with inside(fixtures.acme):
        ProjectFactory(actor=fixtures.ada, name="Other", key="OTH")
    return as_(fixtures.ada)


def latest_events(fixtures, after=0):
    """Return the ids of the events after this one, newest first."""
    with inside(fixtures.acme):
        return list(Event.objects.filter(pk__gt=after).order_by("-pk").values_list("pk", flat=True))


def undo(client, *event_ids):
    return client.post("/undo", {"event_ids": list(event_ids)})


@pytest.mark.parametrize("at_once", [True, False])
def test_task_gets_the_external_ref_back_that_an_undone_creation_had(fixtures, client, at_once):
    first = client.put(BY_REF, {"title": "first"}).json()
    start = latest_events(fixtures)[0]
    assert client.post(f"/tasks/{first['id']}/move", {"project": "OTH"}).status_code == 200
    assert client.put(BY_REF, {"title": "second"}).status_code == 201
    events = latest_events(fixtures, after=start)

    responses = [undo(client, *events)] if at_once else [undo(client, pk) for pk in events]

    assert {r.status_code for r in responses} == {200}, responses[-1].content
    task = client.get("/tasks?project=APO&external_ref=r1").json()["data"][0]
    assert (task["id"], task["key"], task["title"]) == (first["id"], first["key"], "first")


def test_undoing_the_undo_of_a_creation_restores_its_external_ref(fixtures, client):
    task = client.put(BY_REF, {"title": "t"}).json()
    before = latest_events(fixtures)[0]
    assert undo(client, before).status_code == 200
    with inside(fixtures.acme):
        assert Task.everything.get(pk=task["id"]).external_ref is None

    assert undo(client, *latest_events(fixtures, after=before)).status_code == 200

    assert client.get("/tasks?project=APO&external_ref=r1").json()["data"][0]["id"] == task["id"]


def test_deleted_task_keeps_its_external_ref(fixtures, client):
    task = client.put(BY_REF, {"title": "t"}).json()

    assert client.delete(f"/tasks/{task['id']}").status_code == 204

    with inside(fixtures.acme):
        assert Task.everything.get(pk=task["id"]).external_ref == "r1"
