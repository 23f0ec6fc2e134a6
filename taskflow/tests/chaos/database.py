"""What the faults need of a database, and SQLite as one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

from taskflow.tests.server import demo_environment


class Database(Protocol):
    name: str

    @property
    def url(self) -> str: ...
    def execute(self, sql: str) -> list[tuple[object, ...]]: ...
    def close(self) -> None: ...


class SQLite:
    """A database that already has the demo."""

    name = "SQLite"

    def __init__(self, directory: Path) -> None:
        demo_environment(directory / "data")
        self.file = directory / "data" / "taskflow.sqlite3"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    def close(self) -> None:
        """Do nothing: the directory is deleted."""
