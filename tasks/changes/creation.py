"""Making a set of tasks, in as many statements as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import create_all
from taskflow.http.errors import Problem
from tasks.actions.tags import find_or_create_tags
from tasks.changes.context import BOTH_DUE, Facts, check_tag_count
from tasks.models import Project, Status, Task


@dataclass(eq=False)
class Draft:
    """A task to be made. `parent` may be a draft before it, `blocked_by` any draft of the set."""

    project: Project
    title: str
    values: dict[str, Any] = field(default_factory=dict)  # of the Task
    parent: Task | Draft | None = None
    tags: Sequence[str] = ()
    blocked_by: Sequence[Task | Draft] = ()


def create_tasks(
    actor: Actor, drafts: Sequence[Draft], problems: dict[int, Problem] | None = None
) -> dict[int, Task]:
    """Add tasks, each with its project's next number; return them by index.

    What speaks against one goes into `problems` under its index, and the others are made, or none
    where drafts hang on each other. Without `problems` it is raised.
    """
    rows: dict[Draft, Task] = {}
    for draft in drafts:
        rows[draft] = _row(actor, draft, rows)
    facts = _gather(actor, drafts)
    made: dict[int, Task] = {}
    for index, draft in enumerate(drafts):
        try:
            _check(draft, facts, rows)
            made[index] = rows[draft]
        except Problem as problem:
            if problems is None:
                raise
            problems[index] = problem
    if problems and any(_is_linked(draft) for draft in drafts):
        return {}
    _number(made.values())
    good = [drafts[index] for index in made]
    tags = find_or_create_tags(actor, [name for draft in good for name in draft.tags])
    sets: dict[str, list[list[Any]]] = {
        "tags": [[tags[name] for name in draft.tags] for draft in good],
        "blocked_by": [_resolved(draft.blocked_by, rows) for draft in good],
    }
    create_all(actor, list(made.values()), sets={n: s for n, s in sets.items() if any(s)})
    return made


def _row(actor: Actor, draft: Draft, rows: dict[Draft, Task]) -> Task:
    """Unsaved, and without a number."""
    is_done = draft.values.get("status") == Status.DONE
    return Task(
        project=draft.project,
        title=draft.title,
        created_by=actor.member,
        parent=rows[draft.parent] if isinstance(draft.parent, Draft) else draft.parent,
        completed_at=timezone.now() if is_done else None,
        **draft.values,
    )


def _is_linked(draft: Draft) -> bool:
    return any(isinstance(other, Draft) for other in (draft.parent, *draft.blocked_by))


def _resolved(others: Iterable[Task | Draft], rows: dict[Draft, Task]) -> list[Task]:
    return [rows[other] if isinstance(other, Draft) else other for other in others]


def _gather(actor: Actor, drafts: Sequence[Draft]) -> Facts:
    facts = Facts(actor)
    projects = [draft.project for draft in drafts]
    parents = [draft.parent for draft in drafts if isinstance(draft.parent, Task)]
    refs = [(draft.project, draft.values.get("external_ref")) for draft in drafts]
    people = (draft.values.get("assignee") for draft in drafts)
    facts.lock_assignees(projects, [user for user in people if user])
    if parents or any(ref for _, ref in refs):
        facts.lock_projects(projects)
    if parents:
        facts.ask_tree(parents, [])
    facts.ask_refs(refs)
    facts.ask_memberships(projects, [])
    return facts


def _check(draft: Draft, facts: Facts, rows: dict[Draft, Task]) -> None:
    """Raise what speaks against it."""
    task = rows[draft]
    facts.check_member(draft.project)
    if task.due_date and task.due_on:
        raise BOTH_DUE
    check_tag_count(len({name.lower() for name in draft.tags}))
    if task.assignee:
        facts.check_assignee(task.assignee, draft.project)
    blockers = _resolved(draft.blocked_by, rows)
    facts.check_blockers(task, blockers)
    facts.check_ref(task, draft.project, task.external_ref)
    if task.parent:
        facts.check_parent(task, task.parent)
        facts.hang(task, task.parent)
    facts.block(task, blockers)
    facts.take_ref(task, draft.project, task.external_ref)


def _number(tasks: Iterable[Task]) -> None:
    """Give each the next number of its project."""
    wanted = Counter(task.project_id for task in tasks)
    if wanted:
        counters = {pk: count(first) for pk, first in Project.take_numbers(wanted).items()}
        for task in tasks:
            task.number = next(counters[task.project_id])
