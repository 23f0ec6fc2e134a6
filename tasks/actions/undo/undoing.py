"""Undo events: lock the rows, check the rights, apply the plan, and check the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, gettext_noop

from accounts.actions.users import end_access
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.event_log import savepoint
from taskflow.audit.models import Event
from taskflow.audit.recorder import lock_all, serialize_graph_changes
from taskflow.audit.resource_types import resource_types
from taskflow.audit.undo.apply import (
    free_unique_values,
    remove_created,
    restore_values,
    trash_created,
)
from taskflow.audit.undo.plan import Obstacle, Plan
from taskflow.audit.undo.planner import plan_undo
from taskflow.http.errors import Conflict, Invalid, NotFound
from tasks.actions.undo import rights
from tasks.actions.undo.access import find_missing_owners
from tasks.actions.undo.authors import find_texts_of_others
from tasks.actions.undo.circles import find_circles_of_blockers
from tasks.actions.undo.locks import lock_tasks_of_comments, lock_users_of_events
from tasks.actions.undo.open_work import (
    find_completed_projects,
    find_open_below_done,
    get_state,
)
from tasks.actions.undo.outcomes import find_changed_outcomes, set_outcomes
from tasks.actions.undo.removals import find_new_children, find_tags_in_use
from tasks.actions.undo.task_rules import (
    find_double_due_dates,
    find_invalid_tasks,
    find_moves_out_of_trash,
    find_tasks_with_too_many_tags,
)
from tasks.models import FormerNumber, Project, Task

MAX_EVENTS = 10_000
# How often an undo may find that what it leaves out prevents something else. Tasks are nested five
# levels deep, so more attempts are needed only if many kinds of obstacles depend on each other.
MAX_ATTEMPTS = 12
NO_SUCH_EVENT = NotFound(gettext_noop("There is no such event or request."))


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


def build_too_many_events() -> Invalid:
    """Return the refusal of a selection with more than MAX_EVENTS events."""
    sentence = gettext("The selection contains more than %(limit)d events. Select fewer.")
    return Invalid(sentence % {"limit": MAX_EVENTS}, code="too_many")


def undo(
    actor: Actor, events: Sequence[Event], *, skip: bool = False, force: bool = False
) -> UndoResult:
    """Undo the events, newest first. Created rows go to the trash.

    rights.py documents the permissions. Raises NotFound for an event that the actor cannot see
    any more, and Conflict with a list of obstacles if other users have changed the same fields
    since, or if open tasks would be below a done parent or in a completed project. If `skip` is
    set, such changes are kept and their obstacles are returned. If `force` is set, open tasks are
    no obstacle. Tokens, passwords and rows that were deleted permanently cannot be restored.
    """
    if len(events) > MAX_EVENTS:
        raise build_too_many_events()
    serialize_graph_changes(actor)
    lock_users_of_events(events)
    _lock_projects(events)
    lock_tasks_of_comments(events)
    discovered: list[list[Obstacle]] = []
    for _attempt in range(MAX_ATTEMPTS):
        # Anew for each attempt: applying a plan changes its rows.
        plan = plan_undo(events, actor.viewer)
        _check_rights(actor, events, plan)
        for obstacles in discovered:
            plan.exclude_rows(obstacles)
        plan.exclude_rows(find_circles_of_blockers(plan))
        if plan.obstacles and not skip:
            raise _build_conflict(plan.obstacles)
        try:
            with savepoint():
                _apply_plan(actor, plan, force=force)
        except _UndoBlocked as blocked:
            discovered.append(blocked.obstacles)
        else:
            undone = [e.pk for r in plan.reversals for e in r.events]
            return UndoResult(sorted(undone), plan.obstacles + plan.skipped)
    raise Conflict(
        gettext_noop(
            "The changes depend on each other in too many steps. Undo fewer at once: single"
            " requests, the newest first."
        ),
        code="cannot_undo",
        errors=[obstacle.as_error() for obstacles in discovered for obstacle in obstacles],
    )


def _build_conflict(obstacles: Sequence[Obstacle]) -> Conflict:
    return Conflict(
        "Some of the changes cannot be undone. Send on_conflict=skip to leave them out.",
        code="cannot_undo",
        errors=[obstacle.as_error() for obstacle in obstacles],
    )


def _apply_plan(actor: Actor, plan: Plan, *, force: bool) -> None:
    """Write the plan. Raises _UndoBlocked if the result breaks rules."""
    if obstacles := [
        *find_texts_of_others(actor, plan),
        *find_changed_outcomes(plan),
        *find_double_due_dates(plan),
        *find_tags_in_use(plan),
        *find_moves_out_of_trash(plan),
    ]:
        raise _UndoBlocked(obstacles)
    set_outcomes(plan)
    task_states = {r.row.pk: get_state(r.row) for r in plan.reversals_of(Task)}
    moved = [r for r in plan.reversals_of(Task) if {"project", "number"} & r.values.keys()]
    former_numbers = [(r.row, r.row.project_id, r.row.number) for r in moved]
    for recreated in (r for r in plan.reversals_of(User) if r.is_recreated):
        recreated.row.set_unusable_password()  # the former one is not in the log
    remove_created(actor, plan)
    free_unique_values(actor, plan)
    restore_values(actor, plan)
    FormerNumber.delete_reused([r.row for r in moved])
    FormerNumber.store(former_numbers)
    if obstacles := [*find_new_children(plan)]:
        raise _UndoBlocked(obstacles)
    trash_created(actor, plan)
    if obstacles := [
        *find_invalid_tasks(plan),
        *find_tasks_with_too_many_tags(plan),
        *find_missing_owners(plan),
    ]:
        raise _UndoBlocked(obstacles)
    if not force and (
        obstacles := [*find_open_below_done(plan, task_states), *find_completed_projects(plan)]
    ):
        raise _UndoBlocked(obstacles)
    if users := plan.reversals_of(User):
        end_access(actor, [reversal.row.pk for reversal in users])


# ---- rows and rights ----------------------------------------------------------------------------


def select_visible_events(actor: Actor, events: Sequence[Event]) -> list[Event]:
    """Return the events whose rows and projects the actor can see now.

    Costs three queries, and one per subject type.
    """
    return rights.select_visible_events(actor, events, _load_rows(events))


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
    project_ids = {pk for event in events for pk in rights.project_ids_of(event, rows)}
    lock_all(list(Project.objects.filter(pk__in=sorted(project_ids)).order_by("pk")))


def _check_rights(actor: Actor, events: Sequence[Event], plan: Plan) -> None:
    """Check visibility and permissions again: the rows may have been moved before the lock."""
    if len(rights.select_visible_events(actor, events, plan.rows)) < len(events):
        raise NO_SUCH_EVENT.copy()
    rights.require_rights(actor, events, plan.rows)
