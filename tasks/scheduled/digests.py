"""
Sends digests: what is unread and was in no digest before, by e-mail.

The day of the digest and its notifications are stored before the mail is sent, so that nobody gets
one twice. If the mail server refuses it, this is taken back, and the next run tries again. A
process that is killed between both leaves the digest of that day out; the inbox has it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.mail.sending import Mail, deliver
from taskflow.tenancy import inside
from tasks.models import Notification, NotificationPreference
from tasks.models.notifications import Digest
from tasks.queries.notifications import list_notifications
from tasks.scheduled.digest_mails import build_digest_mail
from tasks.scheduled.runner import TaskRun
from tasks.scheduled.tenants import find_tenants, has_rows, ids_of, times_of_zones

MORNING = 7  # o'clock in the time zone of the tenant
MONDAY = 0
MAX_LINES = 50  # of a mail; the others are counted
MAX_COUNT = 1000  # notifications of one digest


def send_digests(run: TaskRun) -> None:
    """Send the digests that are due. Does nothing if the installation sends no mail."""
    if not settings.SENDS_MAIL:
        return

    def work(tenant: Tenant) -> None:
        now = timezone.now()
        if not tenant.is_active or now.astimezone(tenant.zone).hour < MORNING:
            return
        for preference_id in find_due(tenant, tenant.day_of(now)):
            run.check()
            send_digest(tenant, preference_id, now)

    run.for_each(find_tenants("find tenants with digests that are due", choose_due), work)


def choose_due(tenants: QuerySet[Tenant]) -> list[int]:
    """Return the ids of the tenants with a digest that is due. One statement for each time zone in
    which the morning has begun, and one more.
    """
    ids: list[int] = []
    for zone, local in times_of_zones(tenants, timezone.now()):
        if local.hour >= MORNING:
            due = has_rows(_select_due(local.date()))
            ids += ids_of(tenants.filter(due, time_zone=zone, is_active=True))
    return ids


def find_due(tenant: Tenant, today: date) -> list[int]:
    """Return the ids of the preferences whose digest is due on that day. One statement.

    A weekly one is due on Monday, or on a later day if none was sent since then.
    """
    with inside(tenant, read_only=True):
        return list(_select_due(today).order_by("pk").values_list("pk", flat=True))


def send_digest(tenant: Tenant, preference_id: int, now: datetime) -> bool:
    """Send a digest, unless nothing is new or another process does it. Return whether a mail was
    sent.
    """
    with inside(tenant):
        prepared = _prepare(tenant, preference_id, now)
    if prepared is None:
        return False
    if deliver(prepared.mail):
        return True
    with inside(tenant):
        prepared.preference.store_digest(prepared.former_day)
        Notification.objects.filter(pk__in=prepared.ids).mark_as_mailed(None)
    return False


@dataclass(frozen=True)
class _Prepared:
    """A digest that is stored as sent, and what it was before."""

    mail: Mail
    preference: NotificationPreference
    former_day: date | None
    ids: list[int]  # of its notifications


def _prepare(tenant: Tenant, preference_id: int, now: datetime) -> _Prepared | None:
    """Store that the digest is sent, and return it; None if there is nothing to send."""
    today = tenant.day_of(now)
    rows = NotificationPreference.objects.select_related("user")
    locked = rows.select_for_update(skip_locked=True, no_key=True, of=("self",))
    preference = locked.filter(pk=preference_id).first()
    if preference is None or preference.digest == Digest.OFF or preference.digested_on == today:
        return None
    former_day, user = preference.digested_on, preference.user
    preference.store_digest(today)
    if not user.email:
        return None
    unread = list(_find_new(tenant, user).order_by("-id")[:MAX_COUNT])
    if not unread:
        return None
    ids = [notification.pk for notification in unread]
    Notification.objects.filter(pk__in=ids).mark_as_mailed(now)
    mail = build_digest_mail(tenant, user, unread[:MAX_LINES], len(unread))
    return _Prepared(mail, preference, former_day, ids)


def _find_new(tenant: Tenant, user: User) -> QuerySet[Notification]:
    """Return the unread notifications that the user can see and that were in no digest."""
    rows = list_notifications(Actor(user, tenant))
    return rows.filter(read_at__isnull=True, mailed_at__isnull=True)


def _select_due(today: date) -> QuerySet[NotificationPreference]:
    monday = today - timedelta(days=(today.weekday() - MONDAY) % 7)
    rows: QuerySet[NotificationPreference] = NotificationPreference.objects.filter(
        _is_due(today, monday), user__is_active=True
    )
    return rows


def _is_due(today: date, monday: date) -> Q:
    never = Q(digested_on__isnull=True)
    daily = Q(digest=Digest.DAILY) & (never | Q(digested_on__lt=today))
    weekly = Q(digest=Digest.WEEKLY) & (Q(digested_on__lt=monday) | never)
    return daily | weekly
