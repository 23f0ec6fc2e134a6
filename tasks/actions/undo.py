"""Taking changes back: which rows, and what must hold afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef

from accounts.actions.users import end_access
from accounts.models import ApiToken, Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.audit.recorder import lock_all, savepoint, serialize_graph_changes
from taskflow.audit.undo.apply import make_room, put_back, withdraw
from taskflow.audit.undo.plan import Noun, Obstacle, Plan, Reversal
from taskflow.audit.undo.planner import plan_undo
from taskflow.http.errors import Conflict, Invalid, NotFound
from tasks.actions import undo_rights
from tasks.models import (
    Comment,
    FormerNumber,
    Page,
    Project,
    ProjectMember,
    Role,
    Tag,
    Task,
    TaskTag,
)
from tasks.models.graph import blockers_behind, children_below, height, parents_above, reached
from tasks.models.tasks import DEEPEST, MOST_TAGS

MOST_EVENTS = 10_000
TOO_MANY = Invalid(f"These are more than {MOST_EVENTS} events. Ask for fewer.", code="too_many")
IN_TRASH = ("deleted", "deleted_at")
# In the order in which they belong to each other.
NOUNS = {
    "tenant": Noun(Tenant),
    "user": Noun(User, unique=("handle", "email"), withdrawn=("deactivated", "is_active")),
    "apitoken": Noun(ApiToken, withdrawn=("revoked", "revoked_at"), only_made=True),
    "project": Noun(Project, unique=("key",), withdrawn=IN_TRASH),
    "projectmember": Noun(ProjectMember, born="joined", gone="left"),
    "tag": Noun(Tag, unique=("name",)),
    "task": Noun(Task, related=("project",), unique=("external_ref",), withdrawn=IN_TRASH),
    "comment": Noun(Comment, related=("task",), withdrawn=IN_TRASH),
    "page": Noun(Page, withdrawn=IN_TRASH),
}
NO_SUCH_EVENT = NotFound("There is no such event or request.")


@dataclass
class Undone:
    """What has been taken back, and what was left as it is."""

    event_ids: list[int]
    left_out: list[Obstacle]


class _Obstructed(Exception):
    def __init__(self, obstacles: list[Obstacle]) -> None:
        super().__init__()
        self.obstacles = obstacles


def undo(actor: Actor, events: Sequence[Event], *, skip: bool = False) -> Undone:
    """Take back what the events did, newest first; what was made goes to the trash.

    Who may undo: see undo_rights.py. Raises NotFound for an event that the actor does not see any
    more, Conflict, listing each, for what others have changed since, unless told to `skip` that.
    Tokens and passwords do not come back, nor what was deleted for good.
    """
    if len(events) > MOST_EVENTS:
        raise TOO_MANY
    serialize_graph_changes(actor)
    _lock_projects(events)
    found: list[list[Obstacle]] = []
    while True:
        plan = plan_undo(events, NOUNS)  # anew: an attempt that failed has changed its rows
        _check_rights(actor, events, plan)
        for obstacles in found:
            plan.leave_out(obstacles)
        if plan.obstacles and not skip:
            raise _refused(plan.obstacles)
        try:
            with savepoint():
                _carry_out(actor, plan)
        except _Obstructed as obstructed:
            found.append(obstructed.obstacles)
        else:
            done = [e.pk for r in plan.reversals for e in r.events]
            return Undone(sorted(done), plan.obstacles + plan.left)


def _refused(obstacles: Sequence[Obstacle]) -> Conflict:
    return Conflict(
        "Some of it cannot be taken back. Send on_conflict=skip to leave that out.",
        code="cannot_undo",
        errors=[obstacle.as_error() for obstacle in obstacles],
    )


def _carry_out(actor: Actor, plan: Plan) -> None:
    """Raises _Obstructed with what would not be right afterwards."""
    if found := [*_twice_due(plan), *_carried(plan), *_out_of_the_trash(plan)]:
        raise _Obstructed(found)
    moved = [r for r in plan.of(Task) if {"project", "number"} & r.values.keys()]
    left = [(r.row, r.row.project_id, r.row.number) for r in moved]
    make_room(actor, plan, NOUNS)
    put_back(actor, plan, NOUNS)
    FormerNumber.take_back([r.row for r in moved])
    FormerNumber.keep(left)
    if found := [*_hanging(plan)]:
        raise _Obstructed(found)
    withdraw(actor, plan, NOUNS)
    if found := [*_wrong_tasks(plan), *_overfull_tasks(plan), *_wrong_people(plan)]:
        raise _Obstructed(found)
    if users := plan.of(User):
        end_access(actor, [reversal.row.pk for reversal in users])


# ---- which rows ---------------------------------------------------------------------------------


def visible_events(actor: Actor, events: Sequence[Event]) -> list[Event]:
    """Those of the events that the actor sees now and could take back, as far as that is allowed.

    One query per subject type, and three.
    """
    return undo_rights.visible_events(actor, events, _rows_of(events))


def _rows_of(events: Iterable[Event]) -> dict[tuple[str, int], Any]:
    """The rows that the events are of, as they are now, those in the trash too."""
    ids: dict[str, set[int]] = defaultdict(set)
    for event in events:
        ids[event.subject_type].add(event.subject_id)
    return {
        (kind, row.pk): row
        for kind, noun in NOUNS.items()
        if kind in ids
        for row in noun.rows(ids[kind])
    }


def _lock_projects(events: Sequence[Event]) -> None:
    """Projects are locked before what is in them."""
    rows = _rows_of(events)
    places = {pk for event in events for pk in undo_rights.places_of(event, rows)}
    lock_all(list(Project.objects.filter(pk__in=sorted(places)).order_by("pk")))


def _check_rights(actor: Actor, events: Sequence[Event], plan: Plan) -> None:
    """Judge by the rows that are locked now, which may have moved since they were chosen."""
    if len(undo_rights.visible_events(actor, events, plan.rows)) < len(events):
        raise NO_SUCH_EVENT
    undo_rights.require_rights(actor, events, plan.rows)


# ---- what must hold afterwards ------------------------------------------------------------------


def _twice_due(plan: Plan) -> Iterable[Obstacle]:
    for reversal in plan.of(Task):
        row, values = reversal.row, reversal.values
        day, instant = values.get("due_on", row.due_on), values.get("due_date", row.due_date)
        if day and instant:
            yield reversal.obstacle("due_twice", "It would be due on a day and at an instant.")


def _out_of_the_trash(plan: Plan) -> Iterable[Obstacle]:
    """Tasks that would leave a project in the trash, into which there is no way back."""
    restored = {r.row.pk for r in plan.of(Project) if r.values.get("deleted_at", ...) is None}
    leaving = [r for r in plan.of(Task) if "project" in r.values]
    left = {r.row.project_id for r in leaving} - restored
    gone = Project.everything.filter(pk__in=sorted(left), deleted_at__isnull=False)
    hidden = set(gone.values_list("pk", flat=True)) if left else set()
    for reversal in leaving:
        if reversal.row.project_id in hidden:
            yield reversal.obstacle(
                "in_trash", "The project that it is in is in the trash. Restore that first."
            )


def _carried(plan: Plan) -> Iterable[Obstacle]:
    """Tags that were made and would go away, though others' tasks carry them.

    Those of tasks in the trash go along; the tag's record has them.
    """
    going = {r.row.pk: r for r in plan.of(Tag) if r.is_withdrawn}
    freed = {r.row.pk: r.links["tags"] for r in plan.of(Task) if "tags" in r.links}
    given = {(r.row.pk, pk) for r in going.values() for e in r.events for pk in _given_to(e)}
    links = TaskTag.objects.filter(tag__in=list(going), task__in=Task.objects.present())
    links = links.exclude(task__in=plan.withdrawn(Task))
    for task_id, tag_id in links.values_list("task_id", "tag_id"):
        is_freed = freed.get(task_id, {}).get(tag_id) is False
        if not is_freed and (tag_id, task_id) not in given:
            yield going[tag_id].obstacle("in_use", f"Task {task_id} carries it.")


def _given_to(event: Event) -> list[int]:
    """The tasks that a tag was given when it was made again."""
    _before, after = event.changes.get("tasks", ((), ()))
    return list(after)


def _hanging(plan: Plan) -> Iterable[Obstacle]:
    """What others have put onto rows that were made and would go away."""
    projects, tasks = plan.withdrawn(Project), plan.withdrawn(Task)
    hanging: list[tuple[Any, str, Any, str]] = [
        (Project, "project_id", Task.objects.filter(project__in=projects), "is in it"),
        (Project, "project_id", Page.objects.filter(project__in=projects), "is in it"),
        (Task, "parent_id", Task.objects.filter(parent__in=tasks), "is below it"),
        (Task, "task_id", Comment.objects.filter(task__in=tasks), "is on it"),
    ]
    rows = {(r.noun.model, r.row.pk): r for r in plan.reversals}
    for owner, name, found, how in hanging:
        for row in found.exclude(pk__in=plan.withdrawn(found.model)):
            detail = f"{type(row).__name__} {row.pk} {how}."
            yield rows[owner, getattr(row, name)].obstacle("in_use", detail)


def _wrong_tasks(plan: Plan) -> Iterable[Obstacle]:
    """Circles, depth, parents and projects that are elsewhere or gone, people who cannot see it."""
    by_id = {r.row.pk: r for r in plan.of(Task) if not r.is_withdrawn}
    if not by_id:
        return
    rows = Task.objects.filter(pk__in=sorted(by_id)).select_related("project", "parent", "assignee")
    above, below = parents_above(by_id), children_below(by_id)
    behind = blockers_behind(by_id)
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
        yield by_id[child.parent_id or 0].obstacle("in_use", f"Task {child.pk} is below it.")


def _overfull_tasks(plan: Plan) -> Iterable[Obstacle]:
    """Tasks that would have more tags than a task may have, as others have added some since."""
    tagging = {r.row.pk: r for r in plan.of(Task) if True in r.links.get("tags", {}).values()}
    for reversal in plan.of(Tag):  # a tag that is made again returns to its tasks
        returning = reversal.links.get("tasks", {})
        tagging |= {pk: reversal for pk, is_linked in returning.items() if is_linked}
    links = TaskTag.objects.filter(task__in=sorted(tagging)).values("task")
    overfull = links.annotate(count=Count("pk")).filter(count__gt=MOST_TAGS)
    for task_id in overfull.order_by("task").values_list("task", flat=True) if tagging else ():
        detail = f"Task {task_id} would have more than {MOST_TAGS} tags."
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
        return "in_trash", "The project it came from is in the trash. Restore that first."
    if task.parent and task.parent.deleted_at:
        return "parent_in_trash", f"Its parent, task {task.parent_id}, is in the trash."
    if task.parent and task.parent.project_id != task.project_id:
        return "parent_elsewhere", f"Its parent, task {task.parent_id}, is in another project."
    if task.parent_id and task.pk in reached(above, above.get(task.pk, ())):
        return "cycle", "It would be below itself."
    if len(reached(above, [task.pk])) + height(below, task.pk) - 1 > DEEPEST:
        return "too_deep", f"Subtasks go {DEEPEST} levels deep at most."
    if task.pk in reached(behind, behind.get(task.pk, ())):
        return "cycle", "It would wait for itself."
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
    """Whether he could not see it any more since what is taken back; before is as it was."""
    since = Event.objects.filter(pk__gt=reversal.events[-1].pk)
    about_him = since.filter(subject_type="user", subject_id=user_id)
    left = since.filter(subject_type="projectmember", project_id=project_id, verb="left")
    return any(
        changes.get(name, [None, None])[1] is False
        for changes in about_him.values_list("changes", flat=True)
        for name in ("is_active", "is_staff")
    ) or any(
        changes.get("user") == [user_id, None] for changes in left.values_list("changes", flat=True)
    )


def _wrong_people(plan: Plan) -> Iterable[Obstacle]:
    """A project without its owner, a tenant without an administrator."""
    touched: dict[int, Reversal] = {r.row.project_id: r for r in plan.of(ProjectMember)}
    touched |= {r.row.pk: r for r in plan.of(Project) if not r.is_withdrawn}
    owners = set(
        ProjectMember.objects.filter(project__in=list(touched), role=Role.OWNER).values_list(
            "project_id", "user_id"
        )
    )
    for project in Project.objects.filter(pk__in=list(touched)):
        if (project.pk, project.owner_id) not in owners:
            yield touched[project.pk].obstacle(
                "no_owner", f"“{project.name}” would be without its owner."
            )
    users = plan.of(User)
    if users and not User.objects.active().filter(is_staff=True).exists():
        yield users[0].obstacle("no_administrator", "Nobody would administer the tenant.")
    pages = {r.row.pk: r for r in plan.of(Page) if "owner" in r.values}
    membership = ProjectMember.objects.filter(project=OuterRef("project"), user=OuterRef("owner"))
    strays = Page.objects.filter(~Exists(membership), pk__in=list(pages), owner__is_staff=False)
    for page in strays:
        if not _has_left(pages[page.pk], page.owner_id, page.project_id):
            continue
        yield pages[page.pk].obstacle("no_member", "Its owner is not in the project any more.")
