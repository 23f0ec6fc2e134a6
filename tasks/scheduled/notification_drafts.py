"""Which users should hear of an event, and of what kind it is for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Tenant, User
from taskflow.audit.models import Event, Via
from tasks.models import Comment, Page, Project, ProjectMember, Task
from tasks.models.notifications import (
    Notification,
    NotificationKind,
    NotificationPreference,
    Report,
    find_reported,
)
from tasks.models.readiness import READY
from tasks.queries.mentions import find_mentions
from tasks.scheduled.overdue import due_time, is_workable

# By the type of the subject, the field in which users are mentioned.
TEXTS = {"task": "description", "comment": "body", "page": "body", "project": "description"}
CLAIM_ENDS = frozenset({"claim_released", "claim_failed", "claim_broken", "claim_expired"})
DUE_FIELDS = frozenset({"due_date", "due_on", "status", "deleted_at"})  # can make a task overdue


@dataclass
class Subject:
    """A row that an event is about, as it is now. `columns` are those of Notification."""

    project_id: int
    columns: dict[str, int]
    task: Task | None = None


Subjects = dict[tuple[str, int], Subject]
Recipients = list[tuple[int, NotificationKind]]


def draft_notifications(
    tenant: Tenant, events: Sequence[Event], overdue_until: datetime
) -> list[Notification]:
    """Return the notifications of these events, which are not stored yet. At most seven statements.

    Nobody is notified of an own action, or of a row that was deleted permanently. `overdue_until`
    is the time up to which overdue tasks are reported: a task that gets an earlier due date
    afterwards is reported here.
    """
    subjects = _load_subjects(events)
    mentioned = _find_mentioned(events, subjects)
    drafts = []
    for event in events:
        subject = subjects.get((event.subject_type, event.subject_id))
        if subject is None:
            continue
        recipients = [*_find_assigned(event), *_find_unblocked(event, subject)]
        recipients += [*mentioned.get(event.pk, ())]
        for user_id, kind in dict.fromkeys(recipients):
            if user_id != event.actor_id:
                drafts.append(_build(event, subject, user_id, kind))
        drafts += _find_late(tenant, event, subject, overdue_until)
    return drafts


def draft_overdue(tenant: Tenant, task: Task) -> Notification:
    """Return the notification that an assigned task with a due date is overdue."""
    due = due_time(tenant, task)
    assert task.assignee_id is not None
    assert due is not None
    return Notification(
        user_id=task.assignee_id, kind=NotificationKind.OVERDUE, task_id=task.pk, created_at=due
    )


def store_notifications(drafts: Sequence[Notification]) -> None:
    """Store notifications, unless their users are deactivated or have muted the kind, or an overdue
    task was reported before. At most four statements, none without drafts.
    """
    if not drafts:
        return
    user_ids = {draft.user_id for draft in drafts}
    active = {*User.objects.active().filter(pk__in=sorted(user_ids)).values_list("pk", flat=True)}
    muted = NotificationPreference.find_muted(active)
    overdue = [d.task_id for d in drafts if d.kind == NotificationKind.OVERDUE and d.task_id]
    reported: set[Report] = set()
    if overdue:
        reported = find_reported(overdue, NotificationKind.OVERDUE)
    wanted = []
    for draft in drafts:
        if draft.user_id not in active or draft.kind in muted.get(draft.user_id, ()):
            continue
        if draft.kind == NotificationKind.OVERDUE:
            key = (draft.task_id, draft.user_id, draft.created_at)
            if key in reported:
                continue
            reported.add(key)
        wanted.append(draft)
    Notification.objects.all().add(wanted)


def _build(event: Event, subject: Subject, user_id: int, kind: NotificationKind) -> Notification:
    return Notification(
        user_id=user_id,
        kind=kind,
        actor_id=event.actor_id,
        created_at=event.created_at,
        **subject.columns,
    )


# ---- recipients of one event --------------------------------------------------------------------


def _find_assigned(event: Event) -> Recipients:
    """Return the user to whom the event has assigned the task."""
    before, after = event.changes.get("assignee", (None, None))
    if event.subject_type != "task" or not isinstance(after, int) or before == after:
        return []
    is_by_system = event.actor_id is None and event.operator_id is None
    kind = NotificationKind.ASSIGNED
    if event.verb == "claim_needs_input":
        kind = NotificationKind.NEEDS_INPUT
    elif event.verb in CLAIM_ENDS or (is_by_system and event.via != Via.COMMAND):
        kind = NotificationKind.HANDED_BACK
    return [(after, kind)]


def _find_unblocked(event: Event, subject: Subject) -> Recipients:
    """Return the assignee of a task that is ready."""
    if event.subject_type != "task" or event.verb != READY or subject.task is None:
        return []
    assignee_id = subject.task.assignee_id
    return [] if assignee_id is None else [(assignee_id, NotificationKind.UNBLOCKED)]


def _find_late(
    tenant: Tenant, event: Event, subject: Subject, overdue_until: datetime
) -> Iterator[Notification]:
    """Yield the notification of a task that the event has made overdue, but not assigned."""
    task = subject.task
    if task is None or event.subject_type != "task" or task.assignee_id is None:
        return
    if not event.changes.keys() & DUE_FIELDS or "assignee" in event.changes:
        return
    due = due_time(tenant, task)
    is_late = due is not None and due <= overdue_until and is_workable(task)
    if is_late and task.assignee_id != event.actor_id:
        yield draft_overdue(tenant, task)


def _find_mentioned(events: Sequence[Event], subjects: Subjects) -> dict[int, Recipients]:
    """Return the users whom each event mentions and its text did not mention before, by event id.

    They are active, and members of the project or administrators. Two statements at most.
    """
    handles = {event.pk: names for event in events if (names := _find_new_handles(event))}
    if not handles:
        return {}
    names = sorted({name for found in handles.values() for name in found})
    users = {user.handle: user for user in User.objects.active().filter(handle__in=names)}
    rows = ProjectMember.objects.filter(user__in=[user.pk for user in users.values()])
    members = {*rows.values_list("project_id", "user_id")}
    recipients: dict[int, Recipients] = defaultdict(list)
    for event in events:
        subject = subjects.get((event.subject_type, event.subject_id))
        for name in handles.get(event.pk, ()):
            user = users.get(name)
            if not user or not subject:
                continue
            if user.is_staff or (subject.project_id, user.pk) in members:
                recipients[event.pk].append((user.pk, NotificationKind.MENTIONED))
    return recipients


def _find_new_handles(event: Event) -> list[str]:
    before, after = event.changes.get(TEXTS.get(event.subject_type, ""), (None, None))
    if not isinstance(after, str):
        return []
    former = set(find_mentions(before)) if isinstance(before, str) else set()
    return [name for name in find_mentions(after) if name not in former]


# ---- subjects -----------------------------------------------------------------------------------


def _load_subjects(events: Iterable[Event]) -> Subjects:
    """Return the rows of the events that exist, also in the trash. At most four statements."""
    ids: dict[str, set[int]] = defaultdict(set)
    for event in events:
        ids[event.subject_type].add(event.subject_id)
    subjects: Subjects = {}
    if ids["task"]:
        tasks = Task.everything.filter(pk__in=sorted(ids["task"])).select_related("project")
        for task in tasks.defer("description", "metadata", "links", "project__description"):
            subjects["task", task.pk] = Subject(task.project_id, {"task_id": task.pk}, task)
    if ids["comment"]:
        comments = Comment.everything.filter(pk__in=sorted(ids["comment"]))
        for pk, task_id, project_id in comments.values_list("pk", "task_id", "task__project_id"):
            columns = {"task_id": task_id, "comment_id": pk}
            subjects["comment", pk] = Subject(project_id, columns)
    if ids["page"]:
        pages = Page.everything.filter(pk__in=sorted(ids["page"]))
        for pk, project_id in pages.values_list("pk", "project_id"):
            subjects["page", pk] = Subject(project_id, {"page_id": pk})
    if ids["project"]:
        projects = Project.everything.filter(pk__in=sorted(ids["project"]))
        for pk in projects.values_list("pk", flat=True):
            subjects["project", pk] = Subject(pk, {"project_id": pk})
    return subjects
