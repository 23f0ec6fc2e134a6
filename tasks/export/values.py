"""Convert values of columns to JSON for an export, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from django.db import models

from accounts.schemas.tenants import TenantUpdate
from accounts.schemas.tokens import TokenCreate
from accounts.schemas.users import UserCreate
from taskflow.audit.models import TransactionId
from taskflow.db.types import AnyField
from taskflow.http.parsing import MAX_JSON_DEPTH, check_depth, check_values
from taskflow.http.schema import In, is_unstorable
from tasks.schemas.comments import CommentCreate
from tasks.schemas.invitations import InvitationCreate
from tasks.schemas.pages import PageCreate
from tasks.schemas.projects import ProjectCreate
from tasks.schemas.tags import TagCreate
from tasks.schemas.tasks import TaskCreate
from tasks.schemas.views import ViewCreate

MAX_COLUMN_DEPTH = MAX_JSON_DEPTH - 1  # levels of metadata, which is one level inside a body
MAX_CHANGES_DEPTH = MAX_COLUMN_DEPTH + 2  # levels of {field: [before, after]}
REPLACEMENT = "\ufffd"  # replaces a character that not every database can store
# By model: the columns that must satisfy the rules of a request body, and the schema with them.
# E-mails are not among them: a body could not contain the address of an erased user.
CHECKED_COLUMNS: Mapping[str, tuple[type[In], tuple[str, ...]]] = {
    "accounts.tenant": (TenantUpdate, ("name", "time_zone")),
    "accounts.user": (UserCreate, ("handle", "full_name")),
    "accounts.apitoken": (TokenCreate, ("name",)),
    "tasks.invitation": (InvitationCreate, ("email", "full_name")),
    "tasks.project": (ProjectCreate, ("key", "name", "description", "metadata")),
    "tasks.task": (TaskCreate, ("title", "description", "links", "metadata", "external_ref")),
    "tasks.tag": (TagCreate, ("name", "color")),
    "tasks.comment": (CommentCreate, ("body",)),
    "tasks.page": (PageCreate, ("title", "body")),
    "tasks.view": (ViewCreate, ("name", "where", "sort")),
}
JSON_TYPES: tuple[tuple[type[AnyField], type], ...] = (
    (models.ForeignKey, int),
    (models.BooleanField, bool),
    (models.IntegerField, int),
    (models.DateField, str),  # a DateTimeField too
    (models.CharField, str),
    (models.TextField, str),
)

ExportRow = dict[str, Any]  # the columns of a row as JSON, by name


# ---- writing ------------------------------------------------------------------------------------


def write_value(
    field: AnyField, value: object, notes: list[str], *, keeps_numbers: bool = False
) -> object:
    """Return the value of a column as JSON that can be imported into both databases.

    Unless `keeps_numbers` is True, whole floats are written as integers, so that both databases
    write the same: PostgreSQL stores the digits, SQLite the number. A value that a database may
    contain but a request body may not is written as text, and a note is added to `notes`.
    """
    if isinstance(field, models.JSONField):
        return _JsonWriter(field.attname, notes, keeps_numbers=keeps_numbers).write(
            value, _max_depth_of(field)
        )
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return _write_text(value, field.attname, notes) if isinstance(value, str) else value


class _JsonWriter:
    """Writes a JSON value of one column."""

    def __init__(self, column: str, notes: list[str], *, keeps_numbers: bool) -> None:
        self.column, self.notes, self.keeps_numbers = column, notes, keeps_numbers

    def write(self, value: Any, levels: int) -> object:
        """Return the value as it is exported. It may be nested `levels` deep."""
        if isinstance(value, str):
            return _write_text(value, self.column, self.notes)
        if isinstance(value, dict | list) and not levels:
            self.notes.append(
                f"{self.column} is nested too deeply: the innermost values became text"
            )
            return json.dumps(value)
        if isinstance(value, dict):
            return self._write_object(value, levels - 1)
        if isinstance(value, list):
            return [self.write(item, levels - 1) for item in value]
        return self._write_number(value) if type(value) in (int, float) else value

    def _write_object(self, value: Mapping[str, object], levels: int) -> dict[str, object]:
        written: dict[str, object] = {}
        for key, item in value.items():
            name = _write_text(key, self.column, self.notes)
            while name in written:  # keys that differ only in replaced characters
                name += REPLACEMENT
            written[name] = self.write(item, levels)
        return written

    def _write_number(self, value: float) -> float | str:
        written: float | str = value
        if isinstance(value, float) and not math.isfinite(value):
            written = json.dumps(value)
        elif isinstance(value, float) and value.is_integer() and not self._keeps(value):
            written = int(Decimal(repr(value)))  # as PostgreSQL reads the digits
        if isinstance(written, str) or not -(2**63) <= written < 2**63:
            self.notes.append(f"{self.column} contains a number outside 64 bits: it became text")
            written = str(written)
        return written

    def _keeps(self, value: float) -> bool:
        return self.keeps_numbers and abs(value) < 2**63


def _write_text(text: str, column: str, notes: list[str]) -> str:
    if not is_unstorable(text):
        return text
    notes.append(f"{column} contains NUL or unpaired surrogates: each became {REPLACEMENT}")
    return "".join(REPLACEMENT if is_unstorable(character) else character for character in text)


def _max_depth_of(field: AnyField) -> int:
    return MAX_CHANGES_DEPTH if field.name == "changes" else MAX_COLUMN_DEPTH


# ---- reading ------------------------------------------------------------------------------------


def default_of(field: AnyField) -> object:
    """Return the value for a column that is missing in an older export.

    Raises LookupError if the column has no default.
    """
    if isinstance(field.db_default, TransactionId):
        return 0  # the events of an older file are in the order of their ids
    if field.has_default():
        value = field.get_default()
        return write_value(field, value.value if isinstance(value, Enum) else value, [])
    if field.null:
        return None
    if field.blank and field.empty_strings_allowed:
        return ""
    raise LookupError(field.attname)


def read_value(field: AnyField, value: Any) -> object:
    """Convert a JSON value for its model field. Raises ValueError or ValidationError."""
    if value is None:
        if not field.null:
            raise ValueError(f"{field.attname} is null")
        return None
    if isinstance(field, models.JSONField):
        return value
    json_type: Any = next(t for fields, t in JSON_TYPES if isinstance(field, fields))
    if type(value) is not json_type:
        raise ValueError(f"{field.attname} has a value of a wrong type")
    if isinstance(field, models.DateTimeField):
        return _read_datetime(field, value)
    if isinstance(field, models.DateField):
        return date.fromisoformat(value)
    if isinstance(field, models.CharField):
        field.run_validators(value)
    return value


def _read_datetime(field: AnyField, text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{field.attname} has no time zone")
    return value


def check_content(label: str, row: ExportRow) -> None:
    """Check texts that users wrote by the rules of a request body. Raises Problem or ValueError."""
    if label not in CHECKED_COLUMNS:
        return
    schema, names = CHECKED_COLUMNS[label]
    check_values(schema, {name: row[name] for name in names}, are_stored=True)
    if "metadata" in names:
        check_depth(row["metadata"], MAX_COLUMN_DEPTH)
