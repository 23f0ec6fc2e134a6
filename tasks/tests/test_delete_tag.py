from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task
from tasks.models import Tag, Task, TaskTag


@pytest.fixture
def tag(world):
    with inside(world.acme):
        return create_tag(world.ada, name="urgent", color="#111111")


def test_deleted_tag_is_removed_from_tasks_and_recorded(world, as_, events, tag):
    with inside(world.acme):
        more = create_task(world.ada, world.apollo, title="x", tags=["URGENT", "kept"])
    as_(world.bob).patch("/tasks/APO-1", {"tags": ["urgent"]})

    r = as_(world.boss).delete(f"/tags/{tag.pk}")

    assert (r.status_code, r.content) == (204, b"")
    assert as_(world.bob).get("/tasks/APO-1").json()["tags"] == []
    event = events(world.acme, subject_type="tag")[-1]
    assert (event.verb, event.subject_id) == ("deleted", tag.pk)
    assert event.changes == {
        "name": ["urgent", None],
        "color": ["#111111", None],
        "tasks": [[world.task.pk, more.pk], []],
    }
    with inside(world.acme):
        assert (Tag.objects.count(), TaskTag.objects.count(), Task.objects.count()) == (1, 1, 2)


def test_name_of_a_deleted_tag_can_be_used_again(world, as_, tag):
    as_(world.boss).delete(f"/tags/{tag.pk}")

    assert as_(world.bob).post("/tags", {"name": "urgent"}).status_code == 201


def test_user_who_is_no_administrator_is_refused(world, as_, tag):
    for actor in (world.ada, world.eve):
        assert as_(actor).delete(f"/tags/{tag.pk}").status_code == 403


def test_row_of_another_tenant_is_not_found(world, as_, tag):
    assert as_(world.mallory).delete(f"/tags/{tag.pk}").status_code == 404
