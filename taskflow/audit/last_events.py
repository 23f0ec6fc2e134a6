"""The last event of each tenant, for a query across tenants."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import F, OuterRef, Subquery, TextField

from taskflow.audit.feed import BEGINNING, ORDER, LogPosition, format_cursor
from taskflow.audit.models import Event
from taskflow.db.expressions import ConcatenatedText


def select_last_position() -> Subquery:
    """Return the position of the last event of a tenant as a text, null without any.

    It may be one that readers do not get yet, because an earlier transaction is still running.
    """
    events = Event.objects.filter(tenant=OuterRef("pk")).order_by(*(f"-{n}" for n in ORDER))
    text = events.values(_text=ConcatenatedText(*map(F, ORDER), separator="."))
    return Subquery(text[:1], output_field=TextField())


def cursor_of_position(text: str | None, shifts: Mapping[str, int] | None) -> str:
    """Return the cursor of a position that select_last_position() has selected.

    `shifts` is Tenant.event_id_shifts.
    """
    if text is None:
        return BEGINNING
    epoch, sequence, pk = map(int, text.split("."))
    return format_cursor(LogPosition(epoch, sequence, pk - (shifts or {}).get(str(epoch), 0)))
