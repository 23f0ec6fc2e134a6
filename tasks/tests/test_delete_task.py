from __future__ import annotations

from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.models import Task


def test_deleting_a_task_deletes_and_records_its_subtasks(fixtures, as_, events):
    with inside(fixtures.acme):
        top = create_task(fixtures.ada, fixtures.apollo, title="top", parent=fixtures.task)
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=top, tags=["t"])
        grandchild = create_task(fixtures.ada, fixtures.apollo, title="deep", parent=child)
        sister = create_task(
            fixtures.ada, fixtures.apollo, title="sister", parent=fixtures.task, tags=["t"]
        )

    r = as_(fixtures.bob).delete(f"/tasks/{top.pk}")

    assert (r.status_code, r.content) == (204, b"")
    with inside(fixtures.acme):
        assert set(Task.objects.all()) == {fixtures.task, sister}
        assert Task.objects.get(pk=fixtures.task.pk).version == 1
        assert {t.pk for t in Task.everything.filter(deleted_at__isnull=False)} == {
            top.pk,
            child.pk,
            grandchild.pk,
        }
    gone = events(fixtures.acme, verb="deleted")
    assert [e.subject_id for e in gone] == [top.pk, child.pk, grandchild.pk]
    assert {(e.subject_type, e.project_id) for e in gone} == {("task", fixtures.apollo.pk)}
    assert len({str(e.changes) for e in gone}) == 1, "they share the instant"
    assert gone[0].changes["deleted_at"][0] is None
    assert as_(fixtures.bob).delete(f"/tasks/{top.pk}").status_code == 404


def test_read_only_token_is_refused(fixtures, as_):
    assert as_(fixtures.bob, "read").delete("/tasks/APO-1").status_code == 403


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).delete(f"/tasks/{fixtures.task.pk}").status_code == 404
    with inside(fixtures.acme):
        assert Task.objects.exists()
