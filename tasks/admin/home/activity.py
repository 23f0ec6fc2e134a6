"""What happens now: the claims of workers, the mentions of the user, and the latest events."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Max
from django.urls import reverse

from taskflow.audit.actor import Actor
from taskflow.audit.history import USERS_OF_EVENT, HistoryEntry, read_history
from taskflow.audit.models import Event
from taskflow.audit.visibility import select_log
from tasks.admin.subjects import Subject, find_subjects
from tasks.models import Claim
from tasks.models.claims import is_open
from tasks.models.notifications import Notification, NotificationKind

SHOWN_CLAIMS = 8
MAX_CLAIMS = 1_000  # of the tenant, the newest ones, among which those of the actor are found
SHOWN_MENTIONS = 5
SHOWN_EVENTS = 12
# The newest events of the tenant among which those of the feed are looked for. It bounds the time
# for members of quiet projects; older events are in the list of events.
EVENT_WINDOW = 300
CLAIMS_AT_WORK = "at_work"  # parameter of the list of claims


@dataclass(frozen=True)
class FeedEntry:
    entry: HistoryEntry
    subject: Subject | None  # None for what is gone or invisible


def load_claims(actor: Actor) -> tuple[list[Claim], str]:
    """Return the claims that hold their tasks now, newest first, and the list of all. Two queries.

    The ids are chosen first: SQLite would otherwise begin with all tasks of the actor's projects.
    """
    held = Claim.objects.filter(is_open()).order_by("-pk").values_list("pk", flat=True)
    ids = list(held[:MAX_CLAIMS])
    rows = Claim.objects.visible_to(actor.viewer).filter(pk__in=ids).order_by("-pk")
    address = reverse("admin:tasks_claim_changelist") + f"?{CLAIMS_AT_WORK}=1"
    return list(rows.select_related("task__project", "user")[: SHOWN_CLAIMS + 1]), address


def load_mentions(actor: Actor) -> list[Notification]:
    """Return the latest unread mentions of the actor, about what the actor can see. One query."""
    rows = Notification.objects.visible_to(actor.viewer).unread()
    rows = rows.filter(kind=NotificationKind.MENTIONED).order_by("-pk")
    return list(rows.select_related("task__project", "page", "project", "actor")[:SHOWN_MENTIONS])


def load_feed(actor: Actor) -> list[FeedEntry]:
    """Return the latest events that the actor can see, with links to their rows.

    Two queries, one for each type of row, and one for each model that the changes refer to.
    """
    newest = Event.objects.aggregate(newest=Max("pk"))["newest"] or 0
    recent = Event.objects.filter(pk__gt=newest - EVENT_WINDOW)
    rows = select_log(actor.viewer, recent).select_related(*USERS_OF_EVENT).order_by("-pk")
    entries = read_history(actor, list(rows[:SHOWN_EVENTS]))
    keys = [(entry.event.subject_type, entry.event.subject_id) for entry in entries]
    subjects = find_subjects(actor, keys)
    return [FeedEntry(e, subjects.get(key)) for e, key in zip(entries, keys, strict=True)]
