"""What stands above each tab of a task: the heading, the buttons and the tabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from taskflow.audit.actor import Actor
from tasks.admin.colors import PRIORITY_COLORS, STATUS_COLORS
from tasks.models import Comment, Outcome, Priority, Project, Status, Task

# The tabs, in their order: the name of the view, and the label.
TABS: dict[str, Promise] = {
    "change": _("Details"),
    "subtasks": _("Subtasks"),
    "comments": _("Comments"),
    "links": _("Links"),
    "history": _("History"),
}


@dataclass(frozen=True)
class Tab:
    """A link to a part of the page."""

    label: str | Promise
    address: str
    is_current: bool
    count: int | None  # of rows there; None if it is not counted


@dataclass(frozen=True)
class Button:
    """A verb that the user may carry out now."""

    verb: str
    label: str | Promise


@dataclass(frozen=True)
class Head:
    """What the template needs for the part above the tabs."""

    task: Task
    tabs: Sequence[Tab]
    buttons: Sequence[Button]
    can_change: bool
    can_delete: bool
    status: tuple[str, str]  # the label and its color
    priority: tuple[str, str]

    @property
    def key(self) -> str:
        return self.task.key


def build_head(
    actor: Actor, task: Task, current: str, *, can_change: bool, can_delete: bool
) -> Head:
    """Return the head for the tab `current`, a key of TABS. One query.

    The project and the assignee of the task must be loaded.
    """
    counts = _count_rows(actor, task)
    return Head(
        task,
        tabs=[
            Tab(label, task_address(task, view), view == current, counts.get(view))
            for view, label in TABS.items()
        ],
        buttons=_list_buttons(actor, task) if can_change else [],
        can_change=can_change,
        can_delete=can_delete,
        status=label_of_status(task),
        priority=(str(Priority(task.priority).label), PRIORITY_COLORS[task.priority]),
    )


def task_address(task: Task, view: str = "change") -> str:
    """Return the address of a tab or view of a task."""
    return reverse(f"admin:tasks_task_{view}", args=[task.pk])


def label_of_status(task: Task) -> tuple[str, str]:
    """Return the status of a task as people read it, with its color."""
    if task.outcome == Outcome.CANCELLED:
        return str(Outcome.CANCELLED.label), STATUS_COLORS[task.outcome]
    return str(Status(task.status).label), STATUS_COLORS[task.status]


def may_write(actor: Actor, project: Project) -> bool:
    """Whether the project is open to writes. The role is checked by the admin's permission."""
    return actor.is_staff or project.get_loaded_role(actor.user.pk) is not None


def _list_buttons(actor: Actor, task: Task) -> list[Button]:
    """Return the verbs that would change something."""
    if task.completed:
        return [Button("reopen", _("Reopen"))]
    buttons = [Button("complete", _("Complete"))]
    if task.status == Status.TODO:
        buttons.append(Button("start", _("Start")))
    if actor.member is not None and task.assignee_id != actor.user.pk:
        buttons.append(Button("assign", _("Assign to me")))
    return buttons


def _count_rows(actor: Actor, task: Task) -> dict[str, int]:
    """Return the numbers of visible subtasks and comments, by the view that lists them."""
    subtasks = Task.objects.filter(parent=OuterRef("pk"))
    comments = Comment.objects.filter(task=OuterRef("pk"))
    row = (
        Task.objects.filter(pk=task.pk)
        .annotate(subtask_count=_count(subtasks, "parent"), comment_count=_count(comments, "task"))
        .values_list("subtask_count", "comment_count")
        .get()
    )
    return dict(zip(("subtasks", "comments"), row, strict=True))


def _count(rows: QuerySet[Task] | QuerySet[Comment], name: str) -> Coalesce:
    counted = rows.order_by().values(name).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
