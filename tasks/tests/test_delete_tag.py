from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task
from tasks.models import Tag, Task, TaskTag


@pytest.fixture
def tag(fixtures):
    with inside(fixtures.acme):
        return create_tag(fixtures.ada, name="urgent", color="#111111")


def test_deleted_tag_is_removed_from_tasks_and_recorded(fixtures, as_, events, tag):
    with inside(fixtures.acme):
        more = create_task(fixtures.ada, fixtures.apollo, title="x", tags=["URGENT", "kept"])
    as_(fixtures.bob).patch("/tasks/APO-1", {"tags": ["urgent"]})

    r = as_(fixtures.boss).delete(f"/tags/{tag.pk}")

    assert (r.status_code, r.content) == (204, b"")
    assert as_(fixtures.bob).get("/tasks/APO-1").json()["tags"] == []
    event = events(fixtures.acme, subject_type="tag")[-1]
    assert (event.verb, event.subject_id) == ("deleted", tag.pk)
    assert event.changes == {
        "name": ["urgent", None],
        "color": ["#111111", None],
        "created_at": [tag.created_at.isoformat(), None],
        "tasks": [[fixtures.task.pk, more.pk], []],
    }
    with inside(fixtures.acme):
        assert (Tag.objects.count(), TaskTag.objects.count(), Task.objects.count()) == (1, 1, 2)


def test_name_of_a_deleted_tag_can_be_used_again(fixtures, as_, tag):
    as_(fixtures.boss).delete(f"/tags/{tag.pk}")

    assert as_(fixtures.bob).post("/tags", {"name": "urgent"}).status_code == 201


def test_user_who_is_no_administrator_is_refused(fixtures, as_, tag):
    for actor in (fixtures.ada, fixtures.eve):
        assert as_(actor).delete(f"/tags/{tag.pk}").status_code == 403


def test_row_of_another_tenant_is_not_found(fixtures, as_, tag):
    assert as_(fixtures.mallory).delete(f"/tags/{tag.pk}").status_code == 404
