"""INSERT, UPDATE and DELETE of many rows, whose values are one parameter: a JSON array.

Django's own methods build an expression for each value, which takes most of the time of a request
that writes thousands of rows. These statements return nothing, so each is sent with the next one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import connection, models

from taskflow.db.statements import Parameter, Statement
from taskflow.db.writes import MAX_STATEMENTS

Pairs = Sequence[tuple[int, int]]
Columns = tuple[str, str]  # the attributes of the two ids of a link
ROW = "row_id"  # the name of the id in the JSON of a row


def insert_pairs(
    model: type[models.Model], columns: Columns, shared: tuple[str, int], pairs: Pairs
) -> None:
    """Insert a row for each pair of ids, with one statement.

    `shared` is an attribute with its value in all rows. The model has no other columns.
    """
    names = ", ".join(map(_quote, (shared[0], *columns)))
    _defer(f"INSERT INTO {_table(model)} ({names}) SELECT %s, {_select_pairs()}", shared[1], pairs)


def delete_pairs(
    model: type[models.Model], columns: Columns, shared: tuple[str, int], pairs: Pairs
) -> None:
    """Delete the rows that insert_pairs() would insert, with one statement."""
    first, second = map(_quote, columns)
    condition = f"{_quote(shared[0])} = %s AND ({first}, {second}) IN (SELECT {_select_pairs()})"
    _defer(f"DELETE FROM {_table(model)} WHERE {condition}", shared[1], pairs)  # noqa: S608


def update_rows(rows: Sequence[models.Model], shared_column: str, names: Sequence[str]) -> None:
    """Store the columns of the fields `names` of rows of one model, with one statement.

    All rows have the same value in `shared_column`.
    """
    model = type(rows[0])
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    values = [{ROW: row.pk} | {f.attname: _as_json(f, row) for f in fields} for row in rows]
    statement = _compile_update(model, shared_column, tuple(names))
    statement.defer({"shared": getattr(rows[0], shared_column), "rows": json.dumps(values)})


def discard_plans() -> None:
    """Let PostgreSQL plan its statements again, those of foreign key checks included.

    It keeps a plan as long as the connection is open and the table has no new statistics. A plan
    that was made when a table was nearly empty may read all rows of the tenant for each check.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("DISCARD PLANS")


def _quote(name: str) -> str:
    return str(connection.ops.quote_name(name))


def _table(model: type[models.Model]) -> str:
    return _quote(model._meta.db_table)


def _select_pairs() -> str:
    """Return what selects the pairs of a JSON array."""
    if connection.vendor == "postgresql":
        return "(p.value->>0)::bigint, (p.value->>1)::bigint FROM json_array_elements(%s) p"
    return "p.value->>0, p.value->>1 FROM json_each(%s) p"


@lru_cache(MAX_STATEMENTS)
def _compile_pairs(sql: str) -> Statement:
    return Statement(sql, [Parameter("shared"), Parameter("pairs", models.TextField())])


def _defer(sql: str, shared: int, pairs: Pairs) -> None:
    _compile_pairs(sql).defer({"shared": shared, "pairs": json.dumps(pairs)})


def _as_json(field: Any, row: models.Model) -> Any:
    """Return the value of a column as JSON, so that _compile_update() reads it as stored."""
    value = getattr(row, field.attname)
    if connection.vendor == "postgresql":
        return value if isinstance(value, int | float | dict | list | None) else str(value)
    return field.get_db_prep_save(value, connection)


@lru_cache(MAX_STATEMENTS)
def _compile_update(
    model: type[models.Model], shared_column: str, names: tuple[str, ...]
) -> Statement:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    table, shared = _table(model), _quote(shared_column)
    if connection.vendor == "postgresql":
        types = ", ".join(f"{_quote(f.attname)} {f.db_type(connection)}" for f in fields)
        source = f"json_to_recordset(%s) AS r({ROW} bigint, {types})"
        read = {f.attname: f"r.{_quote(f.attname)}" for f in fields}
        row_id = f"r.{ROW}"
    else:
        source = "json_each(%s) AS r"
        read = {f.attname: f"r.value->>'{f.attname}'" for f in fields}
        row_id = f"r.value->>'{ROW}'"
    assigned = ", ".join(f"{_quote(f.column)} = {read[f.attname]}" for f in fields)
    condition = f"{table}.{shared} = %s AND {table}.{_quote('id')} = {row_id}"
    sql = " ".join(("UPDATE", table, "SET", assigned, "FROM", source, "WHERE", condition))
    return Statement(sql, [Parameter("rows", models.TextField()), Parameter("shared")])
