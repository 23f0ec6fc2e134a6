"""The epochs of the event log: see taskflow/audit/feed.py."""

from __future__ import annotations

from django.db.models import Max

from accounts.models import Tenant
from taskflow.audit.models import Event


def begin_event_epoch(tenant: Tenant, id_shift: int = 0) -> None:
    """Let the new events of the current tenant have an epoch after all that its log has.

    `id_shift` is the number that was added to the ids of its events, so that older cursors stay
    valid. Nobody else may write events of the tenant meanwhile. Two statements.
    """
    last = Event.objects.aggregate(last=Max("epoch"))["last"] or 0
    shifts = dict(tenant.event_id_shifts or {})
    for epoch in range(1, last + 1) if id_shift else ():
        shifts[str(epoch)] = shifts.get(str(epoch), 0) + id_shift
    tenant.event_epoch = max(last + 1, tenant.event_epoch)
    tenant.event_id_shifts = shifts or None
    Tenant.objects.filter(pk=tenant.pk).update(
        event_epoch=tenant.event_epoch, event_id_shifts=tenant.event_id_shifts
    )
