"""Tenants that an import into SQLite has not finished.

SQLite has one writer at a time, so that an import consists of many short transactions. Its tenant
has a name that no request can use, is not active, and gets its subdomain with the last transaction.
Until then nobody sees it. If the import fails, it is removed. If its process is killed, the next
`import` or `purge` removes it.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connection, transaction
from django.db.models import QuerySet

from accounts.models import Tenant
from taskflow.db.batches import BATCH_ROWS, MAX_WAIT, pause_for_writers
from taskflow.tenancy import inside
from tasks.export.format import BACKUP, Model, exported_models, reference_fields
from tasks.export.values import ExportRow
from tasks.export.verifying import InvalidExport

log = logging.getLogger("taskflow.import")

PREFIX = "_importing-"  # of the subdomain; no DNS label and no request can have it


def finished_tenants() -> QuerySet[Tenant]:
    """Return all tenants but those of unfinished imports and deletions, ordered by id."""
    return Tenant.objects.exclude(subdomain__startswith="_").order_by("pk")


def hide(tenant: Tenant) -> None:
    """Make the tenant one that nobody can see or use, before it is inserted."""
    tenant.subdomain, tenant.is_active = f"{PREFIX}{tenant.pk}", False


def publish(tenant: Tenant, values: ExportRow) -> None:
    """Give a hidden tenant its subdomain. From now on it can be used."""
    with transaction.atomic():
        Tenant.objects.filter(pk=tenant.pk).update(
            subdomain=values["subdomain"], is_active=values["is_active"]
        )
    tenant.subdomain, tenant.is_active = str(values["subdomain"]), bool(values["is_active"])


@contextmanager
def one_import_at_a_time() -> Iterator[None]:
    """Keep other imports out, and remove the tenants that killed ones have left.

    Does nothing on PostgreSQL, where an import is one transaction. Raises InvalidExport if another
    import is running.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with open(f"{connection.settings_dict['NAME']}-import", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidExport("Another import is running. Wait until it has ended.") from None
        _discard_unfinished()
        yield


def discard_leftovers() -> None:
    """Remove the tenants that killed imports have left, unless an import is running."""
    with suppress(InvalidExport), one_import_at_a_time():
        pass


def _discard_unfinished() -> None:
    """Remove all hidden tenants. The caller must keep other imports out."""
    for tenant in Tenant.objects.filter(subdomain__startswith=PREFIX):
        log.warning("removing the tenant of an import that was not finished: %s", tenant.name)
        discard(tenant)


def discard(tenant: Tenant) -> None:
    """Delete a hidden tenant and its rows, in short transactions. Nothing refers to them."""
    for model in reversed(exported_models(BACKUP)):
        for name in [name for name, target in reference_fields(model, BACKUP) if target is model]:
            while _change_some(tenant, model, {f"{name}__isnull": False}, {name: None}):
                pause_for_writers()
        while _change_some(tenant, model, {}, None):
            pause_for_writers()
    row = Tenant.objects.filter(pk=tenant.pk)
    row._raw_delete(row.db)  # delete() would look for rows of it in all tables, outside a tenant


def _change_some(
    tenant: Tenant, model: Model, conditions: dict[str, bool], values: dict[str, None] | None
) -> bool:
    """Set values of a batch of rows, or delete them if `values` is None. Return whether there were
    any.
    """
    with inside(tenant, max_wait=MAX_WAIT):
        rows = model._base_manager.filter(**conditions)
        ids = list(rows.values_list("pk", flat=True)[:BATCH_ROWS])
        batch = model._base_manager.filter(pk__in=ids)
        if ids and values is None:
            batch._raw_delete(batch.db)
        elif ids and values is not None:
            batch.update(**values)
    return bool(ids)
