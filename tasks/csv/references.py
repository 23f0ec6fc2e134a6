"""Resolve `parent`, `blocked_by` and `blocks`: names of rows of the file, or of stored tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.utils.translation import gettext, gettext_noop

from taskflow.audit.actor import Actor
from taskflow.http.errors import Conflict, Invalid
from tasks.changes.create import CreateTask
from tasks.csv.existing import find_named_tasks
from tasks.csv.profiles import BLOCKS, REF, Profile
from tasks.csv.rows import Entry
from tasks.csv.tables import Refusals
from tasks.models import Project, Task
from tasks.queries.lookup import read_task_key
from tasks.schemas.tasks import MAX_BLOCKERS

MAX_OUTSIDE_REFS = 10_000  # different names in a file that no row of it has
PARENT_CYCLE = Conflict(
    gettext_noop("The row is a subtask of itself. Choose another parent."), code="cycle"
)
LISTS = ("blocked_by", BLOCKS)


class References:
    """The rows and the tasks that a file names. At most four queries for all of them.

    A name is first looked up among the keys, other names and external_refs of the rows, in any
    order of the lines; then, if the profile has keys of TaskFlow, among the keys and ids of visible
    tasks; and then among the external_refs of the project.
    """

    def __init__(
        self, actor: Actor, project: Project, entries: Sequence[Entry], profile: Profile
    ) -> None:
        self.profile = profile
        self.rows: dict[str, list[Entry]] = {}
        for entry in entries:
            for name in {_fold(name) for name in _names_of(entry)}:
                self.rows.setdefault(name, []).append(entry)
        self.titles: dict[str, list[Entry]] = {}
        for entry in entries if profile.has_titles_as_refs else ():
            self.titles.setdefault(_fold(entry.text("title")), []).append(entry)
        outside = {name for entry in entries for name in self._names_in(entry)}
        outside = {name for name in outside if not self._find_rows(name)}
        if len(outside) > MAX_OUTSIDE_REFS:
            raise Invalid(
                gettext(
                    "The file names more than %(limit)s tasks that it does not contain. Split it."
                )
                % {"limit": MAX_OUTSIDE_REFS},
                code="too_many",
            )
        named = find_named_tasks(actor, outside) if profile.has_own_keys else {}
        self.stored = {_fold(name): task for name, task in named.items()}
        self.stored |= _find_by_external_ref(project, outside - named.keys())

    def _names_in(self, entry: Entry) -> Iterator[str]:
        """Yield all names in the cells of a row that have to be looked up."""
        if entry.is_sent("parent"):
            yield entry.text("parent")
        for target in LISTS:
            if entry.is_sent(target):
                yield from self.split(entry.texts[target])

    def split(self, cells: Iterable[str]) -> list[str]:
        """Return the names in cells. They are separated by semicolons or commas.

        A cell that is the title of a row is one name.
        """
        names: list[str] = []
        for cell in cells:
            is_title = _fold(cell) in self.titles
            names += [cell.strip()] if is_title else [n.strip() for n in re.split("[;,]", cell)]
        return list(dict.fromkeys(name for name in names if name))

    def _find_rows(self, name: str) -> list[Entry]:
        return self.rows.get(_fold(name)) or self.titles.get(_fold(name), [])

    def find(self, name: str, field: str) -> Entry | Task:
        """Return the row or the task with this name. Raises Invalid, naming the field."""
        rows = self._find_rows(name)
        if len(rows) > 1:
            numbers = ", ".join(str(entry.row.number) for entry in rows[:10])
            sentence = gettext("“%(name)s” names several rows: %(numbers)s.")
            raise Invalid.field(field, sentence % {"name": name, "numbers": numbers}, "ambiguous")
        if rows:
            return rows[0]
        if task := self.stored.get(_fold(name)):
            return task
        raise Invalid.field(
            field,
            gettext("“%(name)s” is neither a row of the file nor a task.") % {"name": name},
            "unknown_reference",
        )


def _names_of(entry: Entry) -> Iterator[str]:
    """Yield the names by which other rows can refer to a row."""
    for target in ("key", "external_ref"):
        if name := entry.text(target):
            yield name
    yield from entry.texts.get(REF, ())


def _fold(name: str) -> str:
    """Return a name in the form in which names are compared. Keys are compared without case."""
    return name.strip().upper() if read_task_key(name) else name.strip()


def _find_by_external_ref(project: Project, refs: Iterable[str]) -> Mapping[str, Task]:
    """Return the tasks of the project with these external_refs. One query, or none."""
    given = sorted(set(refs))
    rows = Task.objects.filter(project=project, external_ref__in=given)
    tasks = rows.select_related("project", "assignee") if given else ()
    return {_fold(str(task.external_ref)): task for task in tasks}


def check_blocker_count(count: int) -> None:
    """Raise Invalid if a row has more blockers than a body may have."""
    if count > MAX_BLOCKERS:
        raise Invalid.field(
            "blocked_by",
            gettext("A row can have at most %(limit)s blockers.") % {"limit": MAX_BLOCKERS},
            "too_many",
        )


def order_parents_first(
    new: Sequence[Entry], parents: Mapping[Entry, Entry | Task | None], refusals: Refusals
) -> list[Entry]:
    """Return the rows in an order in which each comes after its parent, else in that of the file.

    Rows that are subtasks of themselves, directly or not, are refused and left out. Linear in the
    number of rows.
    """
    ordered: dict[Entry, None] = {}
    circular: set[Entry] = set()
    for entry in new:
        path: dict[Entry, None] = {}
        above: Entry | Task | None = entry
        while isinstance(above, Entry) and above not in ordered and above not in path:
            path[above] = None
            above = parents.get(above)
        if isinstance(above, Entry) and above in path:
            circle = list(path)[list(path).index(above) :]
            for member in circle:
                refusals.add(member.row, PARENT_CYCLE, "parent")
            circular |= {*circle}
        ordered |= dict.fromkeys(reversed(path))
    members = set(new)
    return [entry for entry in ordered if entry in members and entry not in circular]


def as_target(other: Entry | Task) -> Task | CreateTask | None:
    """Return what a change refers to: a stored task, or a new one; None if its row is refused."""
    return other if isinstance(other, Task) else (other.task or other.new)
