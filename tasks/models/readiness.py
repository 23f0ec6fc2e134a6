"""The event task.ready: the last open blocker of a task was completed, deleted or removed.

It is recorded for every way in which this happens: the verbs of a task, bulk requests, files, the
deletion of a project, and undo. It changes nothing, so there is nothing to undo in it. That a task
is ready because its project is no longer archived is not recorded at the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Q, QuerySet

from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.tenancy import Changes, with_tenant_parameter
from tasks.models.projects import Project
from tasks.models.tasks import Status, Task, TaskBlocker, is_ready

READY = "ready"  # the verb
CAUSES = frozenset({"status", "deleted_at", "blocked_by"})  # the fields of a blocker or of the task


def find_ready_after_task_changes(
    changes: Sequence[tuple[Task, Changes]],
) -> list[tuple[Task, str]]:
    """Return the tasks that are ready because of these changes. No query if none can be."""
    changes = [(row, changed) for row, changed in changes if not CAUSES.isdisjoint(changed)]
    if not changes:
        return []
    completed = [row.pk for row, changed in changes if _is_completed(changed)]
    deleted = [row.pk for row, changed in changes if _is_moved_to_trash(changed)]
    candidates = _find_released({*completed}, changes)
    if completed or deleted:
        rows = _blocked_queries.fetch((), IdArray((*completed,)), IdArray((*deleted,)))
        candidates |= {pk for (pk,) in rows}
    return _lock_ready(candidates)


def find_ready_after_project_changes(
    changes: Sequence[tuple[Project, Changes]],
) -> list[tuple[Task, str]]:
    """Return the tasks whose last open blockers were in projects that are now in the trash."""
    deleted = [row.pk for row, changed in changes if _is_moved_to_trash(changed)]
    if not deleted:
        return []
    links = TaskBlocker.objects.filter(
        ~Q(blocker__status=Status.DONE),
        blocker__project__in=deleted,
        blocker__deleted_at__isnull=True,
    )
    return _lock_ready(links.values_list("task_id", flat=True))


def _is_completed(changed: Changes) -> bool:
    before, after = changed.get("status", (None, None))
    return before is not None and after == Status.DONE


def _is_moved_to_trash(changed: Changes) -> bool:
    before, after = changed.get("deleted_at", (None, None))
    return before is None and after is not None


def _find_released(completed: set[int], changes: Sequence[tuple[Task, Changes]]) -> set[int]:
    """Return the ids of the tasks from which a blocker was removed that was open before."""
    removed = {
        row.pk: set(changed["blocked_by"][0] or ()) - set(changed["blocked_by"][1] or ())
        for row, changed in changes
        if "blocked_by" in changed
    }
    blockers = {pk for ids in removed.values() for pk in ids}
    if not blockers:
        return set()
    tasks = Task.objects.filter(pk__in=sorted(blockers), project__deleted_at__isnull=True)
    open_before = {*tasks.open().values_list("pk", flat=True)} | completed
    return {pk for pk, ids in removed.items() if ids & open_before}


@with_tenant_parameter
def _select_blocked(completed: IdArray, deleted: IdArray) -> QuerySet[TaskBlocker, tuple[int]]:
    """Select the open tasks that these blockers have blocked. A task that was done blocked none."""
    was_open = Q(IsInIds("blocker_id", completed)) | (
        Q(IsInIds("blocker_id", deleted)) & ~Q(blocker__status=Status.DONE)
    )
    is_open = ~Q(task__status=Status.DONE) & Q(task__deleted_at__isnull=True)
    return TaskBlocker.objects.filter(was_open, is_open).values_list("task_id")


_blocked_queries: QueryCache[TaskBlocker] = QueryCache(_select_blocked)


def _lock_ready(candidates: Iterable[int]) -> list[tuple[Task, str]]:
    """Return those of the tasks that are ready, for the recorder.

    They are locked first: if two requests complete the last two blockers of a task at once, the
    second one waits for the first and sees both as done.
    """
    ids = sorted({*candidates})
    if not ids:
        return []
    rows = Task.objects.filter(pk__in=ids, project__deleted_at__isnull=True).order_by("pk")
    locked = list(rows.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
    ready = Task.objects.filter(is_ready(), pk__in=locked).select_related("project")
    return [(task, READY) for task in ready.order_by("pk")]
