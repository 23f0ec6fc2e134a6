from __future__ import annotations

from django.apps import AppConfig
from django.db import connection

MIN_POSTGRESQL = (16,)  # the first that has GRANT ... WITH INHERIT, SET: see the migrate command


class TaskflowConfig(AppConfig):
    name = "taskflow"

    def ready(self) -> None:
        # Registers the system checks of tenant isolation, which need all models to be loaded.
        from taskflow.tenancy import checks  # noqa: F401, PLC0415

        if connection.vendor == "postgresql":  # Django refuses older servers when it connects
            type(connection.features).minimum_database_version = MIN_POSTGRESQL
