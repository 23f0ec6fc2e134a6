"""The rows of a file, whatever its format, and the refusals that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext

from taskflow.http.errors import Invalid, Problem

MAX_ROWS = 5000
MAX_COLUMNS = 1000
MAX_LISTED_ERRORS = 5000


@dataclass(frozen=True)
class Row:
    """A row of a file. A row may have fewer cells than the file has columns."""

    number: int  # as a spreadsheet shows it: the header is row 1
    line: int | None  # of the file, where the row begins; None if the file has no lines
    cells: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The columns and the rows of a file, without empty rows."""

    headers: Sequence[str]
    rows: Sequence[Row]


def check_row_count(count: int) -> None:
    """Raise Invalid if a file with this number of rows is too long."""
    if count > MAX_ROWS:
        raise Invalid(
            gettext(
                "The file has more than %(limit)s rows, the most that one import takes. Split it."
            )
            % {"limit": MAX_ROWS},
            code="too_many",
        )


# What else a file can do about an error of a cell, by its code.
HINTS = {"unknown_value": " Or write what it means in `values`."}


@dataclass
class Refusals:
    """Everything that is refused in a file. `headers` are the columns' names by field."""

    headers: Mapping[str, str] = field(default_factory=dict)
    errors: list[dict[str, object]] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)  # the numbers of rows with an error

    def add(self, row: Row, problem: Problem, name: str | None = None) -> None:
        """Add the problem of a row. `name` is the field, if the problem does not name it."""
        for error in problem.errors or [{"code": problem.code, "detail": problem.detail}]:
            pointed = str(error.get("pointer", "")).removeprefix("#/").split("/")[0]
            self.add_error(
                row,
                pointed.removesuffix("_id") or name,
                str(error["code"]),
                str(error["detail"]) + HINTS.get(str(error["code"]), ""),
            )

    def add_error(self, row: Row, name: str | None, code: str, detail: str) -> None:
        """Add an error of one cell, or of the whole row if `name` is None."""
        self.rows.add(row.number)
        pointer = f"#/rows/{row.number}" + (f"/{escape_pointer(name)}" if name else "")
        error: dict[str, object] = {"pointer": pointer, "row": row.number}
        if row.line is not None:
            error["line"] = row.line
        error |= {"column": self.headers.get(name, name) if name else None}
        self.errors.append(error | {"code": code, "detail": detail})

    def raise_any(self) -> None:
        """Raise Invalid with all errors in the order of the rows, if there are any."""
        if not self.errors:
            return
        errors = sorted(self.errors, key=lambda error: int(str(error["row"])))
        first = errors[0]
        where = f"Row {first['row']}" + (f", {first['column']}" if first["column"] else "")
        others = f" And {len(errors) - 1} more: see `errors`." if len(errors) > 1 else ""
        raise Invalid(
            f"{where}: {first['detail']}{others}",
            code="bad_rows",
            errors=errors[:MAX_LISTED_ERRORS],
        )


def escape_pointer(name: str) -> str:
    """Return a name as one part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
