"""Undoing changes after which rows have each other's unique values."""

from __future__ import annotations

import pytest

from conftest import ApiClient, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.management.commands.verify import find_faults
from tasks.models import Tag, Task
from tasks.tests.factories import TagFactory, TaskFactory


@pytest.fixture
def client(fixtures):
    return ApiClient(token_of(fixtures.boss))


def rename_in_a_circle(client, paths, field, values):
    """Give each row the value of the one before. Return the ids of the events."""
    before = Event.objects.latest("pk").pk
    for path, value in zip([*paths, paths[0]], ["spare", *values], strict=True):
        assert client.patch(path, {field: value}).status_code == 200
    return list(Event.objects.filter(pk__gt=before).order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize("count", [2, 3])
def test_tags_that_have_each_others_names_get_them_back_at_once(fixtures, client, count):
    names = ["One", "two", "Three"][:count]
    with inside(fixtures.acme):
        tags = [TagFactory(actor=fixtures.boss, name=name) for name in names]
        ids = rename_in_a_circle(client, [f"/tags/{t.pk}" for t in tags], "name", names)

        r = client.post("/undo", {"event_ids": ids})

        assert r.status_code == 200, r.content
        assert [Tag.objects.get(pk=tag.pk).name for tag in tags] == names
        assert list(find_faults()) == []
        (change,) = Event.objects.filter(undoes__has_key=str(ids[-1]))
        assert change.changes["name"] == [names[-1], names[0]]


def test_tasks_that_have_each_others_values_get_them_back_at_once(fixtures, client):
    with inside(fixtures.acme):
        tasks = [TaskFactory(actor=fixtures.boss, project=fixtures.apollo) for _ in range(2)]
        for task, ref in zip(tasks, ["a-1", "b-1"], strict=True):
            assert client.patch(f"/tasks/{task.key}", {"external_ref": ref}).status_code == 200
        paths = [f"/tasks/{task.key}" for task in tasks]
        ids = rename_in_a_circle(client, paths, "external_ref", ["a-1", "b-1"])

        assert client.post("/undo", {"event_ids": ids}).status_code == 200

        refs = [Task.objects.get(pk=task.pk).external_ref for task in tasks]
        assert refs == ["a-1", "b-1"]
        assert list(find_faults()) == []
