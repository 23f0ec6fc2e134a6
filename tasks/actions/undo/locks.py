"""The locks of an undo on users. They precede those on projects, as for every writer."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.models import User
from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.models import Event
from taskflow.audit.resource_types import model_of_field


def lock_users_of_events(events: Sequence[Event]) -> None:
    """Lock the users that an undo changes, or that get something back, before the projects."""
    changed = {event.subject_id for event in events if event.subject_type == "user"}
    named = {
        pk
        for event in events
        for name, values in event.changes.items()
        if model_of_field(event.subject_type, name) is User
        for pk in values
        if isinstance(pk, int)
    }
    for ids, mode in ((changed, LockMode.UPDATE), (named - changed, LockMode.SHARE)):
        if ids:
            rows = User.objects.filter(pk__in=sorted(ids)).order_by("pk")
            list(add_row_lock(rows, mode).values_list("pk"))
