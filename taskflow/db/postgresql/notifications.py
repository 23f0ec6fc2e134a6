"""Notifications of commits, by which the processes of an installation wake each other's readers."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

CHANNEL = "taskflow_commits"
EVERYBODY = "*"  # in place of the tenants, when they are too many for one notification
MAX_TENANTS = 300  # of one notification, which has less than 8,000 bytes


def write_payload(tenants: Iterable[int]) -> str:
    """Return the tenants as the text of a notification."""
    named = sorted(tenants)
    return EVERYBODY if len(named) > MAX_TENANTS else " ".join(map(str, named))


def notify_servers(tenant_id: int) -> None:
    """Notify the servers of a commit of this process, for commands. Costs one message.

    Call it outside a transaction. On SQLite servers look at the file themselves.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, write_payload([tenant_id])])
