"""The command `flush`, run as the owner role. The app role has no right to TRUNCATE tables."""

from __future__ import annotations

from typing import Any

from django.core.management.commands.flush import Command as Flush
from django.db import connections

from taskflow.management.pooler import refuse_pooler
from taskflow.tenancy import OWNER_ROLE, has_roles


class Command(Flush):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor != "postgresql" or not has_roles(connection):
            super().handle(**options)
            return
        refuse_pooler(connection, "flush")
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {OWNER_ROLE}")
        try:
            super().handle(**options)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")
