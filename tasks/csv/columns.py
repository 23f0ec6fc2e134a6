"""Find the field of each column of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from taskflow.db.text import fold
from taskflow.http.errors import Invalid
from tasks.csv.profiles import COLUMNS, DUE, KEEP, REPEATABLE, RESOLUTION, SPECIAL, Profile
from tasks.csv.tables import Refusals, Row, Table
from tasks.schemas.csv import Unmapped

TARGETS = (*COLUMNS, *SPECIAL)


@dataclass(frozen=True)
class Column:
    """A column of a file that is read. `target` is a field, or one of SPECIAL."""

    index: int
    header: str
    target: str


@dataclass(frozen=True)
class Columns:
    """The columns of a file that are read, and the names of those that no field has."""

    read: Sequence[Column]
    unmapped: Sequence[str]

    @property
    def targets(self) -> set[str]:
        return {column.target for column in self.read}

    @property
    def headers(self) -> dict[str, str]:
        """The name of the column of each field, for error messages."""
        headers = {column.target: column.header for column in reversed(self.read)}
        for special, fields in ((DUE, ("due_on", "due_date")), (RESOLUTION, ("outcome",))):
            if special in headers:
                headers = dict.fromkeys(fields, headers[special]) | headers
        return headers

    def texts_of(self, row: Row) -> dict[str, list[str]]:
        """Return the cells of a row by target. Repeated columns are joined.

        Empty cells of repeated columns are left out, and so are columns that the row does not
        reach. The columns of KEEP are left out.
        """
        texts: dict[str, list[str]] = {}
        for column in self.read:
            if column.target != KEEP and column.index < len(row.cells):
                texts.setdefault(column.target, []).append(row.cells[column.index])
        for target in REPEATABLE & texts.keys():
            texts[target] = [text for text in texts[target] if text.strip()]
        return texts

    def kept_cells_of(self, row: Row) -> dict[str, str | list[str]]:
        """Return the cells of the columns that are kept in metadata, by the column's name.

        Cells without text are left out.
        """
        kept: dict[str, list[str]] = {}
        for column in self.read:
            text = row.cells[column.index].strip() if column.index < len(row.cells) else ""
            if text and column.target in (KEEP, RESOLUTION):
                kept.setdefault(column.header, []).append(text)
        return {name: texts[0] if len(texts) == 1 else texts for name, texts in kept.items()}


def map_columns(
    table: Table,
    profile: Profile,
    fields: Mapping[str, str],
    ignored: Iterable[str],
    unmapped: Unmapped,
) -> Columns:
    """Find the target of each column: by `fields` (`map` of the request), then by the profile.

    Columns in `ignored` are left out, and so are columns without a name and without text. Raises
    Invalid with all unknown and all repeated columns, and for a column of `fields` that the file
    does not have.
    """
    mapped = {fold_header(name): target for name, target in fields.items()}
    left_out = {fold_header(name) for name in ignored}
    _check_mapped(mapped, table.headers)
    read, unknown = [], []
    names = {fold_header(header) for header in table.headers}
    for index, header in enumerate(table.headers):
        name = fold_header(header)
        known = None if profile.replaced_by.get(name) in names else profile.columns.get(name)
        target = mapped.get(name) or known
        if name in left_out or (not name and not _has_text(table, index)):
            continue
        if target is None:
            unknown.append(header)
        if target is None and unmapped == Unmapped.KEEP:
            target = KEEP
        if target is not None:
            read.append(Column(index, header, target))
    _check_columns(read, unknown if unmapped == Unmapped.REFUSE else [])
    return Columns(read, list(dict.fromkeys(unknown)))


def fold_header(name: str) -> str:
    """Return the name of a column in the form in which names are compared."""
    return " ".join(fold(name).replace("_", " ").replace("-", " ").split())


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like the given one, or None if none is like it."""
    by_folded = {fold_header(one): one for one in known}
    matches = get_close_matches(fold_header(name), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def _has_text(table: Table, index: int) -> bool:
    return any(row.cells[index].strip() for row in table.rows if index < len(row.cells))


def _check_mapped(mapped: Mapping[str, str], headers: Sequence[str]) -> None:
    """Raise Invalid if `map` names a target that does not exist, or a column that is not there."""
    for name, target in mapped.items():
        if target not in TARGETS:
            raise Invalid.parameter(
                "map", f"“{target}” is no field.{_suggest(target, TARGETS)} {_listing()}"
            )
        if name not in {fold_header(header) for header in headers}:
            raise Invalid.parameter(
                "map", f"The file has no column “{name}”.{_suggest(name, headers)}"
            )


def _check_columns(read: Sequence[Column], unknown: Sequence[str]) -> None:
    """Raise Invalid with an error for each unknown column and for each repeated one."""
    refusals = Refusals()
    header_row = Row(1, 1, ())
    for header in unknown:
        refusals.add_error(
            header_row, header or "(no name)", "unknown_column",
            f"There is no field “{header}”.{_suggest(header, COLUMNS)} Rename the column, name its"
            " field in `map`, or name the column in `ignore`.",
        )  # fmt: skip
    counts = Counter(c.target for c in read if c.target not in REPEATABLE)
    for target in [target for target, count in counts.items() if count > 1]:
        names = ", ".join(f"“{column.header}”" for column in read if column.target == target)
        refusals.add_error(
            header_row, target, "repeated",
            f"Several columns are the field {target}: {names}. Leave one of them, or name the"
            " others in `ignore`.",
        )  # fmt: skip
    refusals.raise_any()


def _suggest(name: str, known: Iterable[str]) -> str:
    nearest = find_nearest(name, known)
    return f" The nearest name is “{nearest}”." if nearest else ""


def _listing() -> str:
    return f"The fields are {', '.join(TARGETS)}."
