from __future__ import annotations

from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.models import Task


def test_deleting_a_task_deletes_and_records_its_subtasks(world, as_, events):
    with inside(world.acme):
        top = create_task(world.ada, world.apollo, title="top", parent=world.task)
        child = create_task(world.ada, world.apollo, title="child", parent=top, tags=["t"])
        grandchild = create_task(world.ada, world.apollo, title="deep", parent=child)
        sister = create_task(world.ada, world.apollo, title="sister", parent=world.task, tags=["t"])

    r = as_(world.bob).delete(f"/tasks/{top.pk}")

    assert (r.status_code, r.content) == (204, b"")
    with inside(world.acme):
        assert set(Task.objects.all()) == {world.task, sister}
        assert Task.objects.get(pk=world.task.pk).version == 1
        assert {t.pk for t in Task.everything.filter(deleted_at__isnull=False)} == {
            top.pk,
            child.pk,
            grandchild.pk,
        }
    gone = events(world.acme, verb="deleted")
    assert [e.subject_id for e in gone] == [top.pk, child.pk, grandchild.pk]
    assert {(e.subject_type, e.project_id) for e in gone} == {("task", world.apollo.pk)}
    assert len({str(e.changes) for e in gone}) == 1, "they share the instant"
    assert gone[0].changes["deleted_at"][0] is None
    assert as_(world.bob).delete(f"/tasks/{top.pk}").status_code == 404


def test_read_only_token_is_refused(world, as_):
    assert as_(world.bob, "read").delete("/tasks/APO-1").status_code == 403


def test_project_of_a_non_member_is_not_found(world, as_):
    for actor in (world.eve, world.mallory):
        assert as_(actor).delete(f"/tasks/{world.task.pk}").status_code == 404
    with inside(world.acme):
        assert Task.objects.exists()
