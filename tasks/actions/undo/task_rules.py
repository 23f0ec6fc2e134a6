"""The rules that the tasks of an undo have to follow afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Count
from django.utils.translation import gettext, gettext_noop

from taskflow.audit.undo.plan import Obstacle, Plan, Reversal
from tasks.actions.undo.access import access_before
from tasks.models import Project, ProjectMember, Tag, Task, TaskTag
from tasks.models.graph import (
    Edges,
    count_levels,
    find_reachable,
    load_blocker_edges,
    load_parent_edges,
    load_subtask_edges,
)
from tasks.models.tasks import MAX_TAGS, MAX_TASK_DEPTH


def find_double_due_dates(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks that would have both a due_on and a due_date."""
    for reversal in plan.reversals_of(Task):
        row, values = reversal.row, reversal.values
        day, timestamp = values.get("due_on", row.due_on), values.get("due_date", row.due_date)
        if day and timestamp:
            yield reversal.obstacle(
                "due_twice", gettext_noop("The task would have both a due_on and a due_date.")
            )


def find_moves_out_of_trash(plan: Plan) -> Iterable[Obstacle]:
    """Yield tasks that would be moved out of a project in the trash: that could not be undone."""
    restored = {
        r.row.pk for r in plan.reversals_of(Project) if r.values.get("deleted_at", ...) is None
    }
    leaving = [r for r in plan.reversals_of(Task) if "project" in r.values]
    left_ids = {r.row.project_id for r in leaving} - restored
    rows = Project.everything.filter(pk__in=sorted(left_ids), deleted_at__isnull=False)
    in_trash = set(rows.values_list("pk", flat=True)) if left_ids else set()
    for reversal in leaving:
        if reversal.row.project_id in in_trash:
            yield reversal.obstacle(
                "in_trash",
                gettext_noop("The project of the task is in the trash. Restore the project first."),
            )


def find_invalid_tasks(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks that would break a rule about parents, blockers or assignees.

    The rules: no circles, at most MAX_TASK_DEPTH levels, a parent in the same project and outside
    the trash, and an assignee who can see the task.
    """
    by_id = {r.row.pk: r for r in plan.reversals_of(Task) if not r.is_removed}
    if not by_id:
        return
    rows = Task.objects.filter(pk__in=sorted(by_id)).select_related("project", "parent", "assignee")
    edges = _Edges(load_parent_edges(by_id), load_subtask_edges(by_id), load_blocker_edges(by_id))
    members = set(
        ProjectMember.objects.filter(project__in={r.project_id for r in rows}).values_list(
            "project_id", "user_id"
        )
    )
    for task in rows:
        if fault := _find_fault(task, by_id[task.pk], edges, members):
            yield by_id[task.pk].obstacle(*fault)
    in_trash = Task.everything.filter(pk__in=sorted(by_id), deleted_at__isnull=False)
    for child in Task.objects.filter(parent__in=in_trash).exclude(
        project__deleted_at__isnull=False
    ):
        yield by_id[child.parent_id or 0].obstacle(
            "in_use", gettext("Task %(id)s is a subtask of it.") % {"id": child.pk}
        )


def find_tasks_with_too_many_tags(plan: Plan) -> Iterable[Obstacle]:
    """Yield the reversals that would give a task more than MAX_TAGS tags."""
    reversal_by_task = {
        r.row.pk: r for r in plan.reversals_of(Task) if True in r.links.get("tags", {}).values()
    }
    for reversal in plan.reversals_of(Tag):  # a recreated tag is linked to its tasks again
        recreated = reversal.links.get("tasks", {})
        reversal_by_task |= {pk: reversal for pk, is_linked in recreated.items() if is_linked}
    links = TaskTag.objects.filter(task__in=sorted(reversal_by_task)).values("task")
    overfull = links.annotate(count=Count("pk")).filter(count__gt=MAX_TAGS)
    for task_id in (
        overfull.order_by("task").values_list("task", flat=True) if reversal_by_task else ()
    ):
        detail = gettext("Task %(id)s would have more than %(limit)s tags.")
        detail %= {"id": task_id, "limit": MAX_TAGS}
        yield reversal_by_task[task_id].obstacle("too_many", detail)


class _Edges(NamedTuple):
    """The graphs around the tasks of a plan, as stored after the plan was applied."""

    parents: Edges
    subtasks: Edges
    blockers: Edges


def _find_fault(
    task: Task, reversal: Reversal, edges: _Edges, members: set[tuple[int, int]]
) -> tuple[str, str] | None:
    """Return the code and detail of the first rule that the task would break, or None."""
    touched = reversal.values.keys() | reversal.links.keys()
    if task.project.deleted_at and "project" in touched:
        return (
            "in_trash",
            gettext_noop(
                "The former project of the task is in the trash. Restore the project first."
            ),
        )
    # First: the actor may be unable to see that project, so nothing about such a parent is shown.
    if task.parent and task.parent.project_id != task.project_id:
        return "parent_elsewhere", gettext_noop(
            "The former parent of the task is in another project now."
        )
    if task.parent and task.parent.deleted_at:
        return (
            "parent_in_trash",
            gettext("The parent, task %(id)s, is in the trash. Restore it first.")
            % {"id": task.parent_id},
        )
    if task.parent_id and task.pk in find_reachable(edges.parents, edges.parents.get(task.pk, ())):
        return "cycle", gettext_noop("The task would be a subtask of itself.")
    levels_to_top = len(find_reachable(edges.parents, [task.pk]))
    if levels_to_top + count_levels(edges.subtasks, task.pk) - 1 > MAX_TASK_DEPTH:
        return "too_deep", gettext("Subtasks can be at most %(limit)s levels deep.") % {
            "limit": MAX_TASK_DEPTH
        }
    if task.pk in find_reachable(edges.blockers, edges.blockers.get(task.pk, ())):
        return "cycle", gettext_noop("The task would block itself.")
    user = task.assignee
    if user is None or not {"assignee", "project"} & touched:
        return None
    can_see = user.is_staff or (task.project_id, user.pk) in members
    if user.is_active and can_see:
        return None
    before = access_before(reversal, user, task.project_id)
    if before.is_active and not user.is_active:
        return "deactivated", gettext("%(user)s is deactivated.") % {"user": user}
    if before.can_see and not can_see:
        return "no_member", gettext("%(user)s is not a member of “%(project)s”.") % {
            "user": user,
            "project": task.project.name,
        }
    return None
