"""INSERT and UPDATE, compiled once for each model and set of columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from types import NoneType
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models import F
from django.db.models.expressions import DatabaseDefault
from django.db.models.sql import InsertQuery, UpdateQuery

from taskflow.db.columns import columns_of
from taskflow.db.statements import Parameter, Statement
from taskflow.db.types import Row

MAX_STATEMENTS = 500  # compiled statements of each kind that are kept
# Of values that one INSERT of many rows has, as JSON. With the search index, each MiB takes up to a
# second, and statement_timeout ends a statement after five.
STATEMENT_BYTES = 1024 * 1024
RowsFunction = Callable[[], models.QuerySet[models.Model]]
PLAIN_TYPES = frozenset({str, int, bool, NoneType, dict, list, datetime})  # never expressions


def insert(row: models.Model) -> bool:
    """Save a new row, and set the values that the database generates, such as its id, on it.

    Return False, without saving it, for a row that only bulk_create() can save: one that has an id
    already, or an expression as a value.
    """
    values = _values_of(row)
    if values is None:
        return False
    returned = _compile_insert(type(row), tuple(values)).run(values)
    _mark_saved(row, returned[0])
    return True


class Numbering(NamedTuple):
    """How new rows of a model are numbered: by a counter in the row that each belongs to."""

    column: str  # the number
    owner_column: str  # the id of the row with the counter
    owners: RowsFunction  # selects the rows that have a counter
    counter: str  # their column with the last number
    refusal: Callable[[], Exception]  # if the row with the counter does not exist


def insert_numbered(row: models.Model, numbering: Numbering) -> bool:
    """Like insert(), and give the row the next number.

    The row with the counter stays locked until the transaction ends, and whoever numbers another
    row by it waits. So PostgreSQL takes the number in the statement that inserts the row, and no
    message is sent in between. Raises the refusal of the numbering.
    """
    column, owner_column, owners, counter, refusal = numbering
    owner_id = getattr(row, owner_column)
    values = _values_of(row) if connection.vendor == "postgresql" else None
    if values is None:
        number = increment(owners, owner_id, counter, 1)
        if number is None:
            raise refusal()
        setattr(row, column, number)
        return insert(row)
    del values[column]
    statement = _compile_numbered_insert(type(row), tuple(values), numbering)
    returned = statement.run({**values, "pk": owner_id, counter: 1})
    if not returned:
        raise refusal()
    setattr(row, column, returned[0][-1])
    _mark_saved(row, returned[0][:-1])
    return True


def defer_insert(model: type[models.Model], values: Mapping[str, object]) -> None:
    """Insert a row whose id is not needed. It is sent with the next statement.

    `values` are by attribute name. Columns that are left out get the defaults of the model, as
    constants of the statement, so that a default that is computed has to be among the values.
    """
    _compile_insert(model, tuple(values)).defer(values)


def insert_rows(rows: Sequence[models.Model], shared_column: str) -> bool:
    """Like insert(), for any number of rows of one model, with a statement for each STATEMENT_BYTES
    of values.

    All rows must have the same value in `shared_column`. The other values are one parameter, a JSON
    array. Return False, without saving any row, on SQLite and for rows that insert() cannot save.
    """
    values = [_values_of(row) for row in rows] if connection.vendor == "postgresql" else [None]
    values_of_rows = [v for v in values if v is not None]
    if (
        len(values_of_rows) < len(values)
        or len({(*v, v[shared_column]) for v in values_of_rows}) > 1
    ):
        return False
    shared = values_of_rows[0][shared_column]
    statement = _compile_insert_rows(type(rows[0]), tuple(values_of_rows[0]), shared_column)
    saved: list[Row] = []
    for text in _as_json_arrays(values_of_rows, shared_column):
        saved += statement.run({"shared": shared, "rows": text})
    for row, returned in zip(rows, saved, strict=True):
        _mark_saved(row, returned)
    return True


def _as_json_arrays(rows: Sequence[dict[str, object]], left_out: str) -> Iterator[str]:
    """Yield JSON arrays of about STATEMENT_BYTES, which together have the rows in their order."""
    objects: list[str] = []
    size = 0
    for row in rows:
        text = json.dumps({n: v for n, v in row.items() if n != left_out}, default=str)
        if objects and size + len(text) > STATEMENT_BYTES:
            yield f"[{','.join(objects)}]"
            objects, size = [], 0
        objects.append(text)
        size += len(text)
    yield f"[{','.join(objects)}]"


def _values_of(row: models.Model) -> dict[str, object] | None:
    """Return the values to store, by attribute name, without those that the database generates.

    Return None if the row has an id already, or an expression as a value.
    """
    if row.pk is not None:
        return None
    stored = row.__dict__
    for name, other in row._state.fields_cache.items():
        # Of a related row that was saved later, the id has to be taken now.
        if other is not None and stored.get(f"{name}_id", 0) is None:
            row._prepare_related_fields_for_save(operation_name="bulk_create")  # type: ignore[attr-defined]
            break
    values = {}
    for name, pre_save in _stored_columns(type(row)):
        value = pre_save(row, True) if pre_save else stored[name]
        if type(value) not in PLAIN_TYPES and hasattr(value, "resolve_expression"):
            if isinstance(value, DatabaseDefault):
                continue
            return None
        values[name] = value
    return values


@cache
def _stored_columns(model: type[models.Model]) -> list[tuple[str, Callable[..., object] | None]]:
    """Return the stored attributes, each with the pre_save() of its field if that has its own."""
    fields = [f for f in columns_of(model) if not f.generated and not f.primary_key]
    return [(f.attname, None if _is_stored_as_it_is(f) else f.pre_save) for f in fields]


def _is_stored_as_it_is(field: Any) -> bool:
    """Return whether pre_save() of a field returns the value of the row."""
    if type(field) in (models.DateField, models.DateTimeField):
        return not (field.auto_now or field.auto_now_add)
    return type(field).pre_save is models.Field.pre_save


def _mark_saved(row: models.Model, returned: Row) -> None:
    for field, value in zip(row._meta.db_returning_fields, returned, strict=True):
        setattr(row, field.attname, value)
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


@lru_cache(MAX_STATEMENTS)
def _compile_insert_rows(
    model: type[models.Model], names: tuple[str, ...], shared_column: str
) -> Statement:
    quote, meta = connection.ops.quote_name, model._meta
    fields = [f for f in columns_of(model) if f.attname in names and f.attname != shared_column]
    columns = ", ".join(quote(str(f.column)) for f in fields)
    types = ", ".join(f"{quote(f.attname)} {f.db_type(connection)}" for f in fields)
    returning = ", ".join(quote(str(f.column)) for f in meta.db_returning_fields)
    named = ", ".join(f"r.{quote(f.attname)}" for f in fields)
    sql = (
        f"INSERT INTO {quote(meta.db_table)} ({quote(shared_column)}, {columns}) SELECT %s, {named}"  # noqa: S608
        f" FROM ROWS FROM (json_to_recordset(%s) AS ({types})) WITH ORDINALITY r"
        f" ORDER BY r.ordinality RETURNING {returning}"
    )
    return Statement(sql, [Parameter("shared"), Parameter("rows", models.TextField())])


@lru_cache(MAX_STATEMENTS)
def _compile_numbered_insert(
    model: type[models.Model], names: tuple[str, ...], numbering: Numbering
) -> Statement:
    quote, meta = connection.ops.quote_name, model._meta
    counting = _compile_increment(numbering.owners, numbering.counter)
    fields = [f for f in columns_of(model) if f.attname in names]
    number = quote(str(meta.get_field(numbering.column).column))  # type: ignore[union-attr]
    columns = ", ".join([number, *(quote(str(f.column)) for f in fields)])
    values = ", ".join([f"counted.{quote(numbering.counter)}", *("%s" for _ in fields)])
    returning = ", ".join(quote(str(f.column)) for f in meta.db_returning_fields)
    sql = (
        f"WITH counted AS ({counting.sql}) INSERT INTO {quote(meta.db_table)} ({columns})"  # noqa: S608
        f" SELECT {values} FROM counted RETURNING {returning}, {number}"
    )
    return Statement(sql, [*counting.params, *map(_parameter_of, fields)])


@lru_cache(MAX_STATEMENTS)
def _compile_insert(model: type[models.Model], names: tuple[str, ...]) -> Statement:
    fields = [f for f in columns_of(model) if not f.generated and not f.primary_key]
    row = model()
    for field in fields:
        if field.attname in names:
            setattr(row, field.attname, _parameter_of(field))
    query = InsertQuery(model)
    query.insert_values(fields, [row], raw=True)
    compiler: Any = query.get_compiler(connection=connection)
    compiler.returning_fields = model._meta.db_returning_fields
    ((sql, params),) = compiler.as_sql()
    return Statement(sql, params)


def update(rows: RowsFunction, pk: int, values: Mapping[str, object]) -> None:
    """Set columns of the row of `rows()` with this id. It is sent with the next statement."""
    _compile_update(rows, tuple(sorted(values))).defer({**values, "pk": pk})


def increment(rows: RowsFunction, pk: int, name: str, step: int) -> int | None:
    """Add `step` to a column of the row of `rows()` with this id.

    Return the new value, or None if there is no such row.
    """
    returned = _compile_increment(rows, name).run({name: step, "pk": pk})
    return int(returned[0][0]) if returned else None


@lru_cache(MAX_STATEMENTS)
def _compile_update(rows: RowsFunction, names: tuple[str, ...]) -> Statement:
    meta = rows().model._meta
    return _compile_statement(rows, {name: _parameter_of(meta.get_field(name)) for name in names})


@lru_cache(MAX_STATEMENTS)
def _compile_increment(rows: RowsFunction, name: str) -> Statement:
    field: Any = rows().model._meta.get_field(name)
    returning = f" RETURNING {connection.ops.quote_name(field.column)}"
    return _compile_statement(rows, {name: F(name) + _parameter_of(field)}, returning)


def _compile_statement(
    rows: RowsFunction, values: Mapping[str, object], returning: str = ""
) -> Statement:
    query: Any = rows().filter(pk=Parameter("pk")).query.chain(UpdateQuery)
    query.add_update_values(values)
    sql, params = query.get_compiler(connection=connection).as_sql()
    return Statement(sql + returning, params)


def _parameter_of(field: Any) -> Parameter:
    return Parameter(field.attname, field.target_field if field.is_relation else field)
