from __future__ import annotations

from django.apps import AppConfig
from django.db import connection

OLDEST_POSTGRESQL = (16,)  # the first that has GRANT … WITH INHERIT, SET: see the migrate command


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import wallcheck  # noqa: F401, PLC0415 - registers the checks; models must be loaded

        if connection.vendor == "postgresql":  # Django refuses an older one at the first connection
            type(connection.features).minimum_database_version = OLDEST_POSTGRESQL
