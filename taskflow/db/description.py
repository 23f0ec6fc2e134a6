"""How commands name the database that they use."""

from __future__ import annotations

from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper


def describe_database(database: BaseDatabaseWrapper) -> str:
    """Return the absolute path of the SQLite file, or the name, host and port of the PostgreSQL
    database. Never its password. Does not connect to it.
    """
    parameters = database.settings_dict
    if database.vendor == "sqlite":
        return str(Path(parameters["NAME"]).absolute())
    host, port = parameters["HOST"], parameters["PORT"]
    host_part = f" on {host}" if host else ""
    port_part = f", port {port}" if port else ""
    return f"the PostgreSQL database {parameters['NAME']}{host_part}{port_part}"
