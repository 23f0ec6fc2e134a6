"""Names of tags in an older export that have become equal, and the numbers that tell them apart.

Names are compared by their folded form. Files from before it was stored may contain two tags that
it makes equal, such as Straße and STRASSE. The later tag gets a number, as in a database that is
upgraded.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import datetime

from taskflow.audit.models import Event, Via
from taskflow.db.text import fold_key
from tasks.export.values import ExportRow
from tasks.models.tags import MAX_NAME

REASON = (
    "The import found tag names that are equal but for the form of letters. This one got a number."
)


def number_equal_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return the new names of tags whose name an earlier tag has, by id. Linear in their number.

    `names` are the names of all tags by id, in the order of the ids.
    """
    first: dict[str, int] = {}
    for pk, name in names.items():
        first.setdefault(fold_key(name), pk)
    taken, numbers = set(first), dict.fromkeys(first, 1)
    renamed = {}
    for pk, name in names.items():
        key = fold_key(name)
        if first[key] != pk:
            renamed[pk] = _first_free_name(name, taken, numbers)
            taken.add(fold_key(renamed[pk]))
    return renamed


def _first_free_name(name: str, taken: set[str], numbers: MutableMapping[str, int]) -> str:
    """Return the name with the first number from 2 on that makes it free.

    `numbers` are the last numbers that were tried, by folded name.
    """
    key = fold_key(name)
    while True:
        numbers[key] += 1
        suffix = f" ({numbers[key]})"
        new = name[: MAX_NAME - len(suffix)] + suffix
        if fold_key(new) not in taken:
            return new


def rename_tag(row: ExportRow, name: str, now: datetime) -> Event:
    """Give the row of a tag the name, and return the event of this change, which is not saved."""
    changes = {"name": [row["name"], name]}
    row |= {"name": name, "version": row["version"] + 1, "updated_at": now.isoformat()}
    return Event(
        via=Via.COMMAND,
        reason=REASON,
        verb="changed",
        subject_type="tag",
        subject_id=row["id"],
        version=row["version"],
        changes=changes,
    )
