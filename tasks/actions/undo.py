"""Undo events: which rows are locked, and what must hold afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef

from accounts.actions.users import end_access
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.audit.recorder import lock_all, savepoint, serialize_graph_changes
from taskflow.audit.resource_types import resource_types
from taskflow.audit.undo.apply import remove_created, restore_values, trash_created
from taskflow.audit.undo.plan import Obstacle, Plan, Reversal
from taskflow.audit.undo.planner import plan_undo
from taskflow.http.errors import Conflict, Invalid, NotFound
from tasks.actions import undo_rights
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
    count_levels,
    find_reachable,
    load_blocker_edges,
    load_parent_edges,
    load_subtask_edges,
)
from tasks.models.registry import TRASHABLE_TYPES
from tasks.models.tasks import MAX_TAGS, MAX_TASK_DEPTH

MAX_EVENTS = 10_000
TOO_MANY = Invalid(
    f"These are more than {MAX_EVENTS} events. Select fewer events.", code="too_many"
)
NO_SUCH_EVENT = NotFound("There is no such event or request.")


@dataclass
class UndoResult:
    """The ids of the events that were undone, and the obstacles that left others as they are."""

    event_ids: list[int]
    left_out: list[Obstacle]


class _UndoBlocked(Exception):
    def __init__(self, obstacles: list[Obstacle]) -> None:
        super().__init__()
        self.obstacles = obstacles


def undo(actor: Actor, events: Sequence[Event], *, skip: bool = False) -> UndoResult:
    """Undo the events, newest first. Created rows go to the trash.

    undo_rights.py says who may undo what. Raises NotFound for an event that the actor cannot see
    any more, and Conflict, listing each obstacle, if others have changed the same fields since;
    with
    `skip` those are left as they are and returned. Tokens, passwords and rows that were deleted
    permanently cannot be restored.
    """
    if len(events) > MAX_EVENTS:
        raise TOO_MANY
    serialize_graph_changes(actor)
    _lock_projects(events)
    discovered: list[list[Obstacle]] = []
    while True:
        plan = plan_undo(events)  # again: a failed attempt has changed its rows
        _check_rights(actor, events, plan)
        for obstacles in discovered:
            plan.exclude_rows(obstacles)
        if plan.obstacles and not skip:
            raise _conflict_with(plan.obstacles)
        try:
            with savepoint():
                _apply_plan(actor, plan)
        except _UndoBlocked as blocked:
            discovered.append(blocked.obstacles)
        else:
            undone = [e.pk for r in plan.reversals for e in r.events]
            return UndoResult(sorted(undone), plan.obstacles + plan.skipped)


def _conflict_with(obstacles: Sequence[Obstacle]) -> Conflict:
    return Conflict(
        "Some of the changes cannot be undone. Send on_conflict=skip to leave them out.",
        code="cannot_undo",
        errors=[obstacle.as_error() for obstacle in obstacles],
    )


def _apply_plan(actor: Actor, plan: Plan) -> None:
    """Write the plan. Raises _UndoBlocked with what would be wrong afterwards."""
    if found := [*_check_due(plan), *_check_tags_in_use(plan), *_check_moves_out_of_trash(plan)]:
        raise _UndoBlocked(found)
    moved = [r for r in plan.reversals_of(Task) if {"project", "number"} & r.values.keys()]
    left = [(r.row, r.row.project_id, r.row.number) for r in moved]
    remove_created(actor, plan)
    restore_values(actor, plan)
    FormerNumber.delete_reused([r.row for r in moved])
    FormerNumber.store(left)
    if found := [*_check_children(plan)]:
        raise _UndoBlocked(found)
    trash_created(actor, plan)
    if found := [*_check_tasks(plan), *_check_tag_counts(plan), *_check_people(plan)]:
        raise _UndoBlocked(found)
    if users := plan.reversals_of(User):
        end_access(actor, [reversal.row.pk for reversal in users])


# ---- which rows ---------------------------------------------------------------------------------


def visible_events(actor: Actor, events: Sequence[Event]) -> list[Event]:
    """Return those of the events whose rows and projects the actor can see now.

    One query per subject type, and three.
    """
    return undo_rights.visible_events(actor, events, _rows_of(events))


def _rows_of(events: Iterable[Event]) -> dict[tuple[str, int], Any]:
    """Return the present rows of the events by subject type and id, also those in the trash."""
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
    """Lock the projects first: every writer locks a project before the rows in it."""
    rows = _rows_of(events)
    places = {pk for event in events for pk in undo_rights.project_ids_of(event, rows)}
    lock_all(list(Project.objects.filter(pk__in=sorted(places)).order_by("pk")))


def _check_rights(actor: Actor, events: Sequence[Event], plan: Plan) -> None:
    """Judge by the rows that are locked now, which may have moved since they were chosen."""
    if len(undo_rights.visible_events(actor, events, plan.rows)) < len(events):
        raise NO_SUCH_EVENT
    undo_rights.require_rights(actor, events, plan.rows)


# ---- what must hold afterwards ------------------------------------------------------------------


def _check_due(plan: Plan) -> Iterable[Obstacle]:
    for reversal in plan.reversals_of(Task):
        row, values = reversal.row, reversal.values
        day, instant = values.get("due_on", row.due_on), values.get("due_date", row.due_date)
        if day and instant:
            yield reversal.obstacle("due_twice", "It would have both a due_on and a due_date.")


def _check_moves_out_of_trash(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks that would leave a project in the trash: they could not be moved back."""
    restored = {
        r.row.pk for r in plan.reversals_of(Project) if r.values.get("deleted_at", ...) is None
    }
    leaving = [r for r in plan.reversals_of(Task) if "project" in r.values]
    left = {r.row.project_id for r in leaving} - restored
    gone = Project.everything.filter(pk__in=sorted(left), deleted_at__isnull=False)
    hidden = set(gone.values_list("pk", flat=True)) if left else set()
    for reversal in leaving:
        if reversal.row.project_id in hidden:
            yield reversal.obstacle(
                "in_trash", "Its project is in the trash. Restore the project first."
            )


def _check_tags_in_use(plan: Plan) -> Iterable[Obstacle]:
    """Yield the created tags that would be deleted although tasks have them.

    Links of tasks in the trash are deleted with the tag; the tag's event lists them.
    """
    going = {r.row.pk: r for r in plan.reversals_of(Tag) if r.is_removed}
    freed = {r.row.pk: r.links["tags"] for r in plan.reversals_of(Task) if "tags" in r.links}
    given = {(r.row.pk, pk) for r in going.values() for e in r.events for pk in _task_ids_of(e)}
    links = TaskTag.objects.filter(tag__in=list(going), task__in=Task.objects.outside_trash())
    links = links.exclude(task__in=plan.removed_ids(Task))
    for task_id, tag_id in links.values_list("task_id", "tag_id"):
        is_freed = freed.get(task_id, {}).get(tag_id) is False
        if not is_freed and (tag_id, task_id) not in given:
            yield going[tag_id].obstacle("in_use", f"Task {task_id} has this tag.")


def _task_ids_of(event: Event) -> list[int]:
    """Return the ids of the tasks that got the tag when it was created again."""
    _before, after = event.changes.get("tasks", ((), ()))
    return list(after)


def _check_children(plan: Plan) -> Iterable[Obstacle]:
    """Yield the rows in which other users have meanwhile created rows that would disappear too."""
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
                    detail = f"The {resource_type.label} {child.pk} belongs to it."
                    yield owner.obstacle("in_use", detail)


def _check_tasks(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks that would break a rule: circles, depth, a parent in another project or in
    the trash, an assignee who cannot see the task.
    """
    by_id = {r.row.pk: r for r in plan.reversals_of(Task) if not r.is_removed}
    if not by_id:
        return
    rows = Task.objects.filter(pk__in=sorted(by_id)).select_related("project", "parent", "assignee")
    above, below = load_parent_edges(by_id), load_subtask_edges(by_id)
    behind = load_blocker_edges(by_id)
    members = set(
        ProjectMember.objects.filter(project__in={r.project_id for r in rows}).values_list(
            "project_id", "user_id"
        )
    )
    for task in rows:
        if fault := _fault_of(task, by_id[task.pk], above, below, behind, members):
            yield by_id[task.pk].obstacle(*fault)
    gone = Task.everything.filter(pk__in=sorted(by_id), deleted_at__isnull=False)
    for child in Task.objects.filter(parent__in=gone).exclude(project__deleted_at__isnull=False):
        yield by_id[child.parent_id or 0].obstacle("in_use", f"Task {child.pk} is a subtask of it.")


def _check_tag_counts(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks that would have too many tags, because tags were added since."""
    tagging = {
        r.row.pk: r for r in plan.reversals_of(Task) if True in r.links.get("tags", {}).values()
    }
    for reversal in plan.reversals_of(Tag):  # a tag that is created again is linked to its tasks
        returning = reversal.links.get("tasks", {})
        tagging |= {pk: reversal for pk, is_linked in returning.items() if is_linked}
    links = TaskTag.objects.filter(task__in=sorted(tagging)).values("task")
    overfull = links.annotate(count=Count("pk")).filter(count__gt=MAX_TAGS)
    for task_id in overfull.order_by("task").values_list("task", flat=True) if tagging else ():
        detail = f"Task {task_id} would have more than {MAX_TAGS} tags."
        yield tagging[task_id].obstacle("too_many", detail)


def _fault_of(
    task: Task,
    reversal: Reversal,
    above: Any,
    below: Any,
    behind: Any,
    members: set[tuple[int, int]],
) -> tuple[str, str] | None:
    touched = reversal.values.keys() | reversal.links.keys()
    if task.project.deleted_at and "project" in touched:
        return "in_trash", "Its former project is in the trash. Restore the project first."
    if task.parent and task.parent.deleted_at:
        return "parent_in_trash", f"Its parent, task {task.parent_id}, is in the trash."
    if task.parent and task.parent.project_id != task.project_id:
        return "parent_elsewhere", f"Its parent, task {task.parent_id}, is in another project."
    if task.parent_id and task.pk in find_reachable(above, above.get(task.pk, ())):
        return "cycle", "It would be a subtask of itself."
    if len(find_reachable(above, [task.pk])) + count_levels(below, task.pk) - 1 > MAX_TASK_DEPTH:
        return "too_deep", f"Subtasks go {MAX_TASK_DEPTH} levels deep at most."
    if task.pk in find_reachable(behind, behind.get(task.pk, ())):
        return "cycle", "It would block itself."
    user = task.assignee
    if user is None or not {"assignee", "project"} & touched:
        return None
    is_seeing = user.is_staff or (task.project_id, user.pk) in members
    if (user.is_active and is_seeing) or not _has_left(reversal, user.pk, task.project_id):
        return None
    if not user.is_active:
        return "deactivated", f"{user} is deactivated."
    return "no_member", f"{user} is not a member of “{task.project.name}”."


def _has_left(reversal: Reversal, user_id: int, project_id: int) -> bool:
    """Whether the user lost access after the undone event. If access was missing before, the undo
    restores a state that already existed, which is allowed.
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


def _check_people(plan: Plan) -> Iterable[Obstacle]:
    """Yield projects that would lack their owner, pages whose owner is no member of the project,
    and users if no administrator would be left.
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
        if not _has_left(pages[page.pk], page.owner_id, page.project_id):
            continue
        yield pages[page.pk].obstacle(
            "no_member", "Its owner is no member of the project any more."
        )
