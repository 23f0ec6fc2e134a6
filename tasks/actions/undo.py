"""Undo events: lock the rows, check the rights, apply the plan, and check the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Count, Exists, OuterRef

from accounts.actions.users import end_access
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.event_log import savepoint
from taskflow.audit.models import Event
from taskflow.audit.recorder import lock_all, serialize_graph_changes
from taskflow.audit.resource_types import resource_types
from taskflow.audit.undo.apply import remove_created, restore_values, trash_created
from taskflow.audit.undo.plan import Obstacle, Plan, Reversal
from taskflow.audit.undo.planner import plan_undo
from taskflow.http.errors import Conflict, Invalid, NotFound
from tasks.actions import undo_rights
from tasks.actions.undo_locks import lock_tasks_of_comments, lock_users_of_events
from tasks.actions.undo_outcomes import find_changed_outcomes, set_outcomes
from tasks.models import (
    FormerNumber,
    Page,
    Project,
    ProjectMember,
    Role,
    Tag,
    Task,
    TaskTag,
)
from tasks.models.graph import (
    Edges,
    count_levels,
    find_reachable,
    load_blocker_edges,
    load_parent_edges,
    load_subtask_edges,
)
from tasks.models.registry import TRASHABLE_TYPES
from tasks.models.tasks import MAX_TAGS, MAX_TASK_DEPTH

MAX_EVENTS = 10_000
TOO_MANY_EVENTS = Invalid(
    f"The selection contains more than {MAX_EVENTS} events. Select fewer.", code="too_many"
)
NO_SUCH_EVENT = NotFound("There is no such event or request.")


@dataclass
class UndoResult:
    """The ids of the undone events, and the obstacles because of which others were skipped."""

    event_ids: list[int]
    left_out: list[Obstacle]


class _UndoBlocked(Exception):
    """The applied plan would break rules. The caller leaves these rows out and tries again."""

    def __init__(self, obstacles: list[Obstacle]) -> None:
        super().__init__()
        self.obstacles = obstacles


def undo(actor: Actor, events: Sequence[Event], *, skip: bool = False) -> UndoResult:
    """Undo the events, newest first. Created rows go to the trash.

    undo_rights.py documents the permissions. Raises NotFound for an event that the actor cannot see
    any more, and Conflict with a list of obstacles if other users have changed the same fields
    since. If `skip` is set, such changes are kept and their obstacles are returned. Tokens,
    passwords and rows that were deleted permanently cannot be restored.
    """
    if len(events) > MAX_EVENTS:
        raise TOO_MANY_EVENTS
    serialize_graph_changes(actor)
    lock_users_of_events(events)
    _lock_projects(events)
    lock_tasks_of_comments(events)
    discovered: list[list[Obstacle]] = []
    while True:
        plan = plan_undo(events)  # anew for each attempt: applying a plan changes its rows
        _check_rights(actor, events, plan)
        for obstacles in discovered:
            plan.exclude_rows(obstacles)
        if plan.obstacles and not skip:
            raise _build_conflict(plan.obstacles)
        try:
            with savepoint():
                _apply_plan(actor, plan)
        except _UndoBlocked as blocked:
            discovered.append(blocked.obstacles)
        else:
            undone = [e.pk for r in plan.reversals for e in r.events]
            return UndoResult(sorted(undone), plan.obstacles + plan.skipped)


def _build_conflict(obstacles: Sequence[Obstacle]) -> Conflict:
    return Conflict(
        "Some of the changes cannot be undone. Send on_conflict=skip to leave them out.",
        code="cannot_undo",
        errors=[obstacle.as_error() for obstacle in obstacles],
    )


def _apply_plan(actor: Actor, plan: Plan) -> None:
    """Write the plan. Raises _UndoBlocked if the result breaks rules."""
    if obstacles := [
        *find_changed_outcomes(plan),
        *_find_double_due_dates(plan),
        *_find_tags_in_use(plan),
        *_find_moves_out_of_trash(plan),
    ]:
        raise _UndoBlocked(obstacles)
    set_outcomes(plan)
    moved = [r for r in plan.reversals_of(Task) if {"project", "number"} & r.values.keys()]
    former_numbers = [(r.row, r.row.project_id, r.row.number) for r in moved]
    remove_created(actor, plan)
    restore_values(actor, plan)
    FormerNumber.delete_reused([r.row for r in moved])
    FormerNumber.store(former_numbers)
    if obstacles := [*_find_new_children(plan)]:
        raise _UndoBlocked(obstacles)
    trash_created(actor, plan)
    if obstacles := [
        *_find_invalid_tasks(plan),
        *_find_tasks_with_too_many_tags(plan),
        *_find_missing_owners(plan),
    ]:
        raise _UndoBlocked(obstacles)
    if users := plan.reversals_of(User):
        end_access(actor, [reversal.row.pk for reversal in users])


# ---- rows and rights ----------------------------------------------------------------------------


def select_visible_events(actor: Actor, events: Sequence[Event]) -> list[Event]:
    """Return the events whose rows and projects the actor can see now.

    Costs three queries, and one per subject type.
    """
    return undo_rights.select_visible_events(actor, events, _load_rows(events))


def _load_rows(events: Iterable[Event]) -> dict[tuple[str, int], Any]:
    """Return the present rows of the events, those in the trash too, by subject type and id."""
    ids: dict[str, set[int]] = defaultdict(set)
    for event in events:
        ids[event.subject_type].add(event.subject_id)
    return {
        (name, row.pk): row
        for name, resource_type in resource_types().items()
        if name in ids
        for row in resource_type.rows(ids[name])
    }


def _lock_projects(events: Sequence[Event]) -> None:
    """Lock the projects before the rows in them, as every writer does."""
    rows = _load_rows(events)
    project_ids = {pk for event in events for pk in undo_rights.project_ids_of(event, rows)}
    lock_all(list(Project.objects.filter(pk__in=sorted(project_ids)).order_by("pk")))


def _check_rights(actor: Actor, events: Sequence[Event], plan: Plan) -> None:
    """Check visibility and permissions again: the rows may have been moved before the lock."""
    if len(undo_rights.select_visible_events(actor, events, plan.rows)) < len(events):
        raise NO_SUCH_EVENT
    undo_rights.require_rights(actor, events, plan.rows)


# ---- obstacles ----------------------------------------------------------------------------------


def _find_double_due_dates(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks that would have both a due_on and a due_date."""
    for reversal in plan.reversals_of(Task):
        row, values = reversal.row, reversal.values
        day, timestamp = values.get("due_on", row.due_on), values.get("due_date", row.due_date)
        if day and timestamp:
            yield reversal.obstacle(
                "due_twice", "The task would have both a due_on and a due_date."
            )


def _find_moves_out_of_trash(plan: Plan) -> Iterable[Obstacle]:
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
                "in_trash", "The project of the task is in the trash. Restore the project first."
            )


def _find_tags_in_use(plan: Plan) -> Iterable[Obstacle]:
    """Yield the created tags that would be deleted although tasks have them.

    Links of tasks in the trash are no obstacle: they are deleted with the tag, whose event lists
    them. The tasks are not named, since the actor may be unable to see their projects.
    """
    removed = {r.row.pk: r for r in plan.reversals_of(Tag) if r.is_removed}
    changed_links = {
        r.row.pk: r.links["tags"] for r in plan.reversals_of(Task) if "tags" in r.links
    }
    undone_links = {
        (r.row.pk, pk) for r in removed.values() for e in r.events for pk in _task_ids_of(e)
    }
    links = TaskTag.objects.filter(tag__in=list(removed), task__in=Task.objects.outside_trash())
    links = links.exclude(task__in=plan.removed_ids(Task))
    used_ids = {
        tag_id
        for task_id, tag_id in links.values_list("task_id", "tag_id")
        if changed_links.get(task_id, {}).get(tag_id) is not False
        and (tag_id, task_id) not in undone_links
    }
    for tag_id in sorted(used_ids):
        yield removed[tag_id].obstacle("in_use", "Other tasks have this tag.")


def _task_ids_of(event: Event) -> list[int]:
    """Return the ids of the tasks that this event of a tag has linked it to."""
    _before, after = event.changes.get("tasks", ((), ()))
    return list(after)


def _find_new_children(plan: Plan) -> Iterable[Obstacle]:
    """Yield the created rows to which other rows belong that would disappear with them."""
    removed = {(r.resource_type.model, r.row.pk): r for r in plan.reversals if r.is_removed}
    for resource_type in TRASHABLE_TYPES:
        model = resource_type.model
        for name in filter(None, (resource_type.belongs_to, resource_type.parent)):
            field = model._meta.get_field(name)
            owners = plan.removed_ids(field.related_model)
            children = model.objects.filter(**{f"{name}__in": owners}) if owners else ()
            for child in children:
                if (model, child.pk) not in removed:
                    owner = removed[field.related_model, getattr(child, field.attname)]
                    detail = (
                        f"The {resource_type.label} {child.pk} belongs to it and would disappear."
                    )
                    yield owner.obstacle("in_use", detail)


def _find_invalid_tasks(plan: Plan) -> Iterable[Obstacle]:
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
        yield by_id[child.parent_id or 0].obstacle("in_use", f"Task {child.pk} is a subtask of it.")


def _find_tasks_with_too_many_tags(plan: Plan) -> Iterable[Obstacle]:
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
        detail = f"Task {task_id} would have more than {MAX_TAGS} tags."
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
            "The former project of the task is in the trash. Restore the project first.",
        )
    # First: the actor may be unable to see that project, so nothing about such a parent is shown.
    if task.parent and task.parent.project_id != task.project_id:
        return "parent_elsewhere", "The former parent of the task is in another project now."
    if task.parent and task.parent.deleted_at:
        return (
            "parent_in_trash",
            f"The parent, task {task.parent_id}, is in the trash. Restore it first.",
        )
    if task.parent and not task.completed and {"status", "parent", "deleted_at"} & touched:
        completed_at = task.parent.completed_at
        if completed_at and completed_at > reversal.events[-1].created_at:
            return "parent_done", f"The parent, task {task.parent_id}, has been completed since."
    if task.parent_id and task.pk in find_reachable(edges.parents, edges.parents.get(task.pk, ())):
        return "cycle", "The task would be a subtask of itself."
    levels_to_top = len(find_reachable(edges.parents, [task.pk]))
    if levels_to_top + count_levels(edges.subtasks, task.pk) - 1 > MAX_TASK_DEPTH:
        return "too_deep", f"Subtasks can be at most {MAX_TASK_DEPTH} levels deep."
    if task.pk in find_reachable(edges.blockers, edges.blockers.get(task.pk, ())):
        return "cycle", "The task would block itself."
    user = task.assignee
    if user is None or not {"assignee", "project"} & touched:
        return None
    can_see = user.is_staff or (task.project_id, user.pk) in members
    if (user.is_active and can_see) or not _lost_access_since(reversal, user.pk, task.project_id):
        return None
    if not user.is_active:
        return "deactivated", f"{user} is deactivated."
    return "no_member", f"{user} is not a member of “{task.project.name}”."


def _lost_access_since(reversal: Reversal, user_id: int, project_id: int) -> bool:
    """Return whether the user lost access to the project after the events that are undone.

    A user who had no access before them is no obstacle: the undo restores a state that existed.
    """
    since = Event.objects.filter(pk__gt=reversal.events[-1].pk)
    user_events = since.filter(subject_type="user", subject_id=user_id)
    left = since.filter(subject_type="projectmember", project_id=project_id, verb="left")
    return any(
        changes.get(name, [None, None])[1] is False
        for changes in user_events.values_list("changes", flat=True)
        for name in ("is_active", "is_staff")
    ) or any(
        changes.get("user") == [user_id, None] for changes in left.values_list("changes", flat=True)
    )


def _find_missing_owners(plan: Plan) -> Iterable[Obstacle]:
    """Yield projects whose owner would have no membership as an owner, pages whose owner would not
    be a member, and a user if the tenant would have no administrator.
    """
    touched: dict[int, Reversal] = {r.row.project_id: r for r in plan.reversals_of(ProjectMember)}
    touched |= {r.row.pk: r for r in plan.reversals_of(Project) if not r.is_removed}
    owners = set(
        ProjectMember.objects.filter(project__in=list(touched), role=Role.OWNER).values_list(
            "project_id", "user_id"
        )
    )
    for project in Project.objects.filter(pk__in=list(touched)):
        if (project.pk, project.owner_id) not in owners:
            yield touched[project.pk].obstacle("no_owner", f"“{project.name}” would have no owner.")
    users = plan.reversals_of(User)
    if users and not User.objects.active().filter(is_staff=True).exists():
        yield users[0].obstacle("no_administrator", "The tenant would have no administrator.")
    pages = {r.row.pk: r for r in plan.reversals_of(Page) if "owner" in r.values}
    membership = ProjectMember.objects.filter(project=OuterRef("project"), user=OuterRef("owner"))
    pages_without_member = Page.objects.filter(
        ~Exists(membership), pk__in=list(pages), owner__is_staff=False
    )
    for page in pages_without_member:
        if not _lost_access_since(pages[page.pk], page.owner_id, page.project_id):
            continue
        yield pages[page.pk].obstacle(
            "no_member", "The owner of the page is no longer a member of the project."
        )
