"""The checks that a done task has no open subtasks or blockers, and that its parent is open."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from django.utils.translation import gettext

from taskflow.audit.actor import Actor
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.http.errors import Conflict
from taskflow.http.unavailable import Contended
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Task, TaskBlocker
from tasks.models.tasks import has_open_blocker

# They have no order: SQLite would read all rows of the tenant in this order, instead of an index.


@with_tenant_parameter
def _open_subtasks(task_ids: IdArray) -> QuerySet[Task]:
    unfinished: QuerySet[Task] = Task.objects.outside_trash().open().select_related("project")
    return unfinished.filter(IsInIds("parent_id", task_ids)).order_by()


@with_tenant_parameter
def _open_blockers(task_ids: IdArray) -> QuerySet[TaskBlocker]:
    links = TaskBlocker.objects.filter(has_open_blocker(), IsInIds("task_id", task_ids))
    return links.select_related("blocker__project").order_by()


OPEN_SUBTASKS_QUERY = QueryCache(_open_subtasks)
OPEN_BLOCKERS_QUERY = QueryCache(_open_blockers)


class OpenWork:
    """The open subtasks and blockers, and the parents, of the tasks of a set of changes."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        # Tasks that later changes of the set complete: they do not count as open work.
        self.done_at_end_ids: set[int] = set()
        self.open_subtasks: dict[int, list[Task]] = {}  # by the id of their parent
        self.open_blockers: dict[int, list[Task]] = {}  # by the id of the blocked task
        # The open subtasks and blockers that the actor can see.
        self.visible_ids: set[int] = set()
        # The parents that must not be done, locked and refreshed, by id.
        self.locked_parents: dict[int, Task] = {}
        # Tasks that the set of changes reopens: they count as open parents.
        self.reopened_ids: set[int] = set()

    def load_open_work(self, tasks: Sequence[Task]) -> None:
        """Load the open subtasks and blockers of the tasks, which prevent completing them."""
        ids = [task.pk for task in tasks]
        if not ids:
            return
        subtasks = OPEN_SUBTASKS_QUERY.fetch_objects((), IdArray(tuple(ids)))
        for subtask in sorted(subtasks, key=lambda task: task.pk):
            self.open_subtasks.setdefault(subtask.parent_id or 0, []).append(subtask)
        links = OPEN_BLOCKERS_QUERY.fetch_objects((), IdArray(tuple(ids)))
        for link in sorted(links, key=lambda link: link.blocker_id):
            self.open_blockers.setdefault(link.task_id, []).append(link.blocker)
        lists = (*self.open_subtasks.values(), *self.open_blockers.values())
        open_ids = [task.pk for open_tasks in lists for task in open_tasks]
        if open_ids:
            visible = Task.objects.visible_to(self.actor.viewer).filter(pk__in=open_ids)
            self.visible_ids = set(visible.values_list("pk", flat=True))

    def open_work(self, task: Task) -> list[tuple[str, Task]]:
        """Return the open subtasks and blockers of a task, as ("subtask" or "blocker", task)."""
        subtasks = [("subtask", t) for t in self.open_subtasks.get(task.pk, [])]
        return subtasks + [("blocker", t) for t in self.open_blockers.get(task.pk, [])]

    def check_no_open_work(self, task: Task, *, blockers: Sequence[Task] | None = None) -> None:
        """Raise Conflict with a list of the open subtasks and blockers of the task, if any.

        Tasks that other changes of the set complete do not count. `blockers` are the blockers that
        the same change sets; None if it does not set them.
        """
        work = self.open_work(task)
        if blockers is not None:
            work = [(kind, t) for kind, t in work if kind == "subtask"]
            work += [("blocker", t) for t in blockers if not t.completed]
            self.visible_ids |= {t.pk for t in blockers}
        open_tasks = [(kind, t) for kind, t in work if t.pk not in self.done_at_end_ids]
        if open_tasks:
            raise Conflict(
                gettext(
                    "%(key)s has open subtasks or blockers. Complete them first, or pass"
                    " force=true."
                )
                % {"key": task.key},
                code="open_work",
                errors=[self._describe_open(kind, other) for kind, other in open_tasks],
            )

    def _describe_open(self, kind: str, task: Task) -> dict[str, object]:
        """Return an entry of `errors` for an open task.

        It contains the title only if the actor can see the task, as a blocker may be in a project
        that the actor cannot see.
        """
        name = f"{task.key} “{task.title}”" if task.pk in self.visible_ids else f"task {task.pk}"
        subtask, blocker = gettext("The subtask %s is open."), gettext("The blocker %s is open.")
        detail = (subtask if kind == "subtask" else blocker) % name
        return {"code": f"open_{kind}", "detail": detail, "task_id": task.pk}

    def check_parent_is_open(self, parent_id: int | None) -> None:
        """Raise Conflict if the parent of an open task is done.

        Raises Contended if the parent was not locked with the task, because the task has been
        completed or has got another parent since it was read.
        """
        if parent_id is None or parent_id in self.reopened_ids:
            return
        parent = self.locked_parents.get(parent_id)
        if parent is None:
            raise Contended("Another request has changed the task. Send the request again.")
        if parent.completed:
            raise Conflict(
                gettext("The parent, %(key)s, is done. Reopen it first, or send force=true.")
                % {"key": parent.key},
                code="parent_done",
            )
