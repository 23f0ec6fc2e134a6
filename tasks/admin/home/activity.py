"""What happens now: the claims of workers, the mentions of the user, and the latest events."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet
from django.urls import reverse

from taskflow.audit.actor import Actor
from taskflow.audit.history import USERS_OF_EVENT, HistoryEntry, read_history
from taskflow.audit.models import Event
from taskflow.audit.visibility import select_log
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.db.viewer import Viewer
from taskflow.tenancy import with_tenant_parameter
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


def load_claims(actor: Actor) -> tuple[list[Claim], str, bool]:
    """Return the claims that hold their tasks now, newest first, the list of all, and whether the
    tenant has more claims than were looked through. Two queries.

    The ids are chosen first: SQLite would otherwise begin with all tasks of the actor's projects.
    """
    ids = [pk for (pk,) in _open_claims_query.fetch(())]
    address = reverse("admin:tasks_claim_changelist") + f"?{CLAIMS_AT_WORK}=1"
    claims = _claims_query.fetch_objects((), actor.viewer, IdArray(tuple(ids)))
    return claims, address, len(ids) >= MAX_CLAIMS


@with_tenant_parameter
def _select_open_claims() -> QuerySet[Claim, Row]:
    ids: QuerySet[Claim, Row] = Claim.objects.filter(is_open()).order_by("-pk").values_list("pk")
    return ids[:MAX_CLAIMS]


@with_tenant_parameter
def _select_claims(viewer: Viewer, ids: IdArray) -> QuerySet[Claim]:
    rows: QuerySet[Claim] = Claim.objects.visible_to(viewer).filter(IsInIds("pk", ids))
    return rows.order_by("-pk").select_related("task__project", "user")[: SHOWN_CLAIMS + 1]


_open_claims_query: QueryCache[Claim] = QueryCache(_select_open_claims)
_claims_query: QueryCache[Claim] = QueryCache(_select_claims)


def load_mentions(actor: Actor) -> list[Notification]:
    """Return the latest unread mentions of the actor, about what the actor can see. One query."""
    return _mentions_query.fetch_objects((), actor.viewer)


@with_tenant_parameter
def _select_mentions(viewer: Viewer) -> QuerySet[Notification]:
    rows: QuerySet[Notification] = Notification.objects.visible_to(viewer).unread()
    rows = rows.filter(kind=NotificationKind.MENTIONED).order_by("-pk")
    return rows.select_related("task__project", "page", "project", "actor")[:SHOWN_MENTIONS]


_mentions_query: QueryCache[Notification] = QueryCache(_select_mentions)


def load_feed(actor: Actor) -> tuple[list[FeedEntry], bool]:
    """Return the latest events that the actor can see, with links to their rows, and whether there
    may be older ones for want of which the feed is short.

    Two queries, one for each type of row, and one for each model that the changes refer to.
    """
    window = [pk for (pk,) in _newest_events_query.fetch(())]
    rows = _feed_query.fetch_objects((), actor.viewer, IdArray(tuple(window)))
    entries = read_history(actor, rows, on_screen=True)
    keys = [(entry.event.subject_type, entry.event.subject_id) for entry in entries]
    subjects = find_subjects(actor, keys)
    feed = [FeedEntry(e, subjects.get(key)) for e, key in zip(entries, keys, strict=True)]
    return feed, len(window) >= EVENT_WINDOW and len(feed) < SHOWN_EVENTS


@with_tenant_parameter
def _select_newest_events() -> QuerySet[Event, Row]:
    ids: QuerySet[Event, Row] = Event.objects.order_by("-pk").values_list("pk")
    return ids[:EVENT_WINDOW]


@with_tenant_parameter
def _select_feed(viewer: Viewer, window: IdArray) -> QuerySet[Event]:
    """Select the newest events of the window. It is given as ids: from a range without values,
    PostgreSQL would expect a third of the log.
    """
    rows = select_log(viewer, Event.objects.filter(IsInIds("pk", window)))
    return rows.select_related(*USERS_OF_EVENT).order_by("-pk")[:SHOWN_EVENTS]


_newest_events_query: QueryCache[Event] = QueryCache(_select_newest_events)
_feed_query: QueryCache[Event] = QueryCache(_select_feed)
