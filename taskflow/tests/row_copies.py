"""Copies of the rows that most tests begin with. They are inserted by statements that were written
once, which costs a tenth of calling the actions that create the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from django.db import connection, models, transaction

from accounts.models import Tenant
from taskflow.tenancy import inside

Rows = dict[Tenant, list[list[Any]]]  # of each tenant, those of each table


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo everything that the block writes."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def read_rows(tenants: Sequence[Tenant], tables: Sequence[type[models.Model]]) -> Rows:
    """Read the rows of these tenants. The order of `tables` has to suit their foreign keys."""
    rows: Rows = {}
    for tenant in tenants:
        with inside(tenant):
            rows[tenant] = [  # by tenant, since a plugin of the tests switches the manager off
                list(model._default_manager.filter(tenant_id=tenant.pk).order_by("pk"))
                for model in tables
            ]
    return rows


class RowCopies:
    """The statements that insert rows with the ids that they have."""

    def __init__(self, rows: Rows) -> None:
        with rolled_back():
            self.tenants = _record_inserts([list(rows)])
            self.others: dict[Tenant, list[tuple[str, Any]]] = {}
            for tenant, tables in rows.items():
                with inside(tenant):
                    self.others[tenant] = _record_inserts(tables)

    def insert(self) -> None:
        _execute(self.tenants)
        for tenant, statements in self.others.items():
            with inside(tenant):
                _execute(statements)


def _record_inserts(tables: Sequence[list[Any]]) -> list[tuple[str, Any]]:
    statements: list[tuple[str, Any]] = []

    def record(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT"):
            statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        for rows in filter(None, tables):
            type(rows[0])._default_manager.bulk_create(rows)
    return statements


def _execute(statements: list[tuple[str, Any]]) -> None:
    """Execute statements without wrappers; on PostgreSQL in one message."""
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(";".join(cursor.mogrify(sql, params) for sql, params in statements))
            return
        for sql, params in statements:
            cursor.execute(sql, params)
