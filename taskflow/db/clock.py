"""The clock of the database, which all servers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func

from taskflow.db.types import SqlAndParams

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler


class DatabaseTime(Func):
    """The present time by the clock of the database, also late in a long transaction.

    SQLite has milliseconds, and the clock of the machine.
    """

    arity = 0
    output_field = models.DateTimeField()
    template = "clock_timestamp()"

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        # The template, and then Django's formatting of parameters, each make one of two signs.
        return self.as_sql(
            compiler, connection, template="strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'now')"
        )
