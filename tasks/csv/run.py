"""An import: what it has read, and what has become of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from tasks.csv.columns import Columns
from tasks.csv.profiles import Profile
from tasks.csv.rows import Entry
from tasks.csv.tables import Refusals
from tasks.models import Project, Task
from tasks.schemas.csv import ImportOptions, UnknownReference


@dataclass
class LeftOut:
    """A cell that was not applied, and why."""

    entry: Entry
    target: str
    text: str
    reason: str


@dataclass
class Import:
    """An import of one file into one project, and what has become of its rows."""

    actor: Actor
    project: Project
    profile: Profile
    options: ImportOptions
    columns: Columns
    entries: list[Entry]
    refusals: Refusals
    skipped: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    created: dict[Entry, Task] = field(default_factory=dict)
    changed: list[Task] = field(default_factory=list)
    unchanged: list[Task] = field(default_factory=list)
    comments: int = 0

    def refuse(self, entry: Entry, target: str, text: str, problem: Problem) -> None:
        """Refuse a cell, or leave it out if it is an unknown reference and `unknown` says so."""
        codes = {str(error["code"]) for error in problem.errors}
        is_unknown = codes <= {"unknown_reference", "ambiguous"}
        if is_unknown and self.options.unknown == UnknownReference.LEAVE_OUT:
            self.left_out.append(LeftOut(entry, target, text, problem.detail))
        else:
            self.refusals.add(entry.row, problem, target)
            entry.refused.add(target)

    @property
    def active(self) -> list[Entry]:
        """The rows that create or change a task."""
        skipped = set(self.skipped)
        return [entry for entry in self.entries if entry not in skipped]
