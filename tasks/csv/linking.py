"""Find the parents and the blockers of the rows of an import."""

from __future__ import annotations

from collections.abc import Sequence

from taskflow.http.errors import Invalid, Problem
from tasks.csv.profiles import BLOCKS
from tasks.csv.references import References, check_blocker_count
from tasks.csv.rows import Entry
from tasks.csv.run import Import
from tasks.models import Task
from tasks.schemas.csv import OnExisting

Parents = dict[Entry, Entry | Task | None]
Blockers = dict[Entry, list[Entry | Task]]


def resolve_references(run: Import) -> tuple[Parents, Blockers]:
    """Find the parent and the blockers of each row that has new ones."""
    references = References(run.actor, run.project, run.entries, run.profile)
    parents: Parents = {}
    blockers: Blockers = {}
    for entry in run.active:
        if entry.is_sent("parent"):
            _resolve_parent(run, references, entry, parents)
        if entry.is_sent("blocked_by"):
            names = references.split(entry.texts["blocked_by"])
            blockers[entry] = _resolve_blockers(run, references, entry, names)
    for entry in run.active:
        for name in references.split(entry.texts.get(BLOCKS, ())):
            _add_blocked(run, references, entry, name, blockers)
    return parents, blockers


def _resolve_parent(run: Import, references: References, entry: Entry, parents: Parents) -> None:
    name = entry.text("parent")
    try:
        parents[entry] = references.find(name, "parent") if name else None
    except Problem as problem:
        run.refuse(entry, "parent", name, problem)


def _resolve_blockers(
    run: Import, references: References, entry: Entry, names: Sequence[str]
) -> list[Entry | Task]:
    """Return the blockers with these names. The task's present blockers need not be visible."""
    present = entry.task.blocked_by.all() if entry.task else ()
    stored = {name: task for task in present for name in (str(task.pk), task.key)}
    found: dict[Entry | Task, None] = {}
    try:
        check_blocker_count(len(names))
    except Problem as problem:
        run.refusals.add(entry.row, problem)
        return []
    for name in names:
        try:
            found[stored.get(name) or references.find(name, "blocked_by")] = None
        except Problem as problem:
            run.refuse(entry, "blocked_by", name, problem)
    return list(found)


def _add_blocked(
    run: Import, references: References, entry: Entry, name: str, blockers: Blockers
) -> None:
    """Make a row a blocker of the row of the file that it names in `blocks`."""
    try:
        blocked = references.find(name, BLOCKS)
        is_skipped = run.options.on_existing == OnExisting.SKIP
        if not isinstance(blocked, Entry) or (blocked.task and is_skipped):
            detail = f"“{name}” is not a row of the file, or one that is skipped."
            raise Invalid.field(BLOCKS, detail, "unknown_reference")
        present = blocked.task.blocked_by.all() if blocked.task else ()
        targets = blockers.setdefault(blocked, list(present))
        if entry not in targets:
            check_blocker_count(len(targets) + 1)
            targets.append(entry)
    except Problem as problem:
        run.refuse(entry, BLOCKS, name, problem)
