"""Deletes tenants for good, 30 days after an operator has asked for it.

The rows are deleted in short transactions, so that writers of other tenants do not wait for long. A
tenant whose deletion has begun has a name that no request and no command can use, so that it cannot
be activated half-deleted. The next `purge` finishes what a killed one has left.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session as BrowserSession
from django.db import transaction
from django.utils import timezone

from accounts.models import Tenant, User
from taskflow.tenancy import inside
from tasks.export.unfinished import discard

PREFIX = "_deleting-"  # of the subdomain; no DNS label and no request can have it


def delete_due_tenants() -> Iterator[Tenant]:
    """Delete the tenants whose time has passed. Yield each one after its deletion."""
    now = timezone.now()
    for tenant in Tenant.objects.filter(is_active=False, deletion_at__lte=now).order_by("pk"):
        with transaction.atomic():
            # Only if it is still due: an operator may have activated it in this moment.
            due = Tenant.objects.filter(pk=tenant.pk, is_active=False, deletion_at__lte=now)
            if not due.update(subdomain=f"{PREFIX}{tenant.pk}"):
                continue
        _delete_browser_sessions(tenant)
        discard(tenant)
        yield tenant


def _delete_browser_sessions(tenant: Tenant) -> None:
    """Delete the sessions of Django that belong to users of the tenant. They name no tenant."""
    with inside(tenant, read_only=True):
        ids = {str(pk) for pk in User.objects.values_list("pk", flat=True)}
    keys = [
        session.session_key
        for session in BrowserSession.objects.iterator()
        if session.get_decoded().get(SESSION_KEY) in ids
    ]
    BrowserSession.objects.filter(pk__in=keys).delete()
