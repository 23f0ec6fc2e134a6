"""Invariants of the tasks of a tenant, which concurrent writers must not break."""

from __future__ import annotations

from collections import defaultdict

from accounts.models import IdempotencyRecord
from taskflow.audit.links import read_linked_ids
from taskflow.audit.models import Event
from taskflow.audit.values import as_recorded, read_column
from taskflow.db.computed import computed_fields, wrong_values
from tasks.management.commands.verify import find_faults
from tasks.models import (
    RESOURCE_TYPES,
    Claim,
    FormerNumber,
    Project,
    Tag,
    Task,
    TaskBlocker,
    TaskCountDelta,
)
from tasks.models.readiness import READY

FIELDS = (
    "project", "number", "title", "description", "status", "priority", "assignee", "parent",
    "due_date", "due_on", "external_ref", "outcome", "completed_at", "deleted_at",
)  # fmt: skip
LINKS = ("tags", "blocked_by")


def broken_invariants() -> list[str]:
    """Return a sentence for each invariant that the current tenant breaks."""
    tasks = list(Task.everything.order_by("pk"))
    return [
        *_broken_logs(tasks),
        *_broken_numbers(tasks),
        *_broken_families(tasks),
        *_broken_counts(),
        *_broken_claims(tasks),
        *wrong_columns(),
        *find_faults(),  # what `manage.py verify` reports
        *(
            f"idempotency key {k.pk} has no response"
            for k in IdempotencyRecord.objects.filter(status=None)
        ),
    ]


def _broken_logs(tasks):
    """The version is the number of events, and applying the events gives the row."""
    log = defaultdict(list)
    for event in Event.objects.filter(subject_type="task").order_by("pk"):
        log[event.subject_id].append(event)
    links = {name: read_linked_ids(tasks, name) for name in LINKS}
    existing_tags = set(Tag.objects.values_list("pk", flat=True))
    for task in tasks:
        events = log[task.pk]
        versions = [e.version for e in events if e.verb != READY]  # which changes nothing
        if versions != list(range(1, task.version + 1)):
            yield f"task {task.pk}: version {task.version}, events {versions}"
        state = {}
        for event in events:
            for name, (before, after) in event.changes.items():
                if (state.get(name) or None) != (before or None):
                    yield f"event {event.pk}: {name} was {state.get(name)}, not {before}"
                state[name] = after
        # The event of a deleted tag lists the tasks that lose it; they have no event of their own.
        state["tags"] = [pk for pk in state.get("tags") or () if pk in existing_tags]
        row = {name: as_recorded(read_column(task, name)) for name in FIELDS}
        row |= {name: links[name].get(task.pk, []) for name in LINKS}
        for name, value in row.items():
            if (state.get(name) or None) != (value or None):
                yield f"task {task.pk}: {name} is {value}, by its events {state.get(name)}"


def _broken_numbers(tasks):
    """The numbers of a project are 1, 2, 3, …, each used once."""
    given = defaultdict(list)
    for row in [*tasks, *FormerNumber.objects.all()]:
        given[row.project_id].append(row.number)
    for project_id, number in _numbers_of_purged({task.pk for task in tasks}):
        given[project_id].append(number)
    for project in Project.everything.all():
        numbers = sorted(given[project.pk])
        if numbers != list(range(1, project.last_number + 1)):
            yield f"project {project.pk}: numbers {numbers}, last given {project.last_number}"


def _numbers_of_purged(existing):
    """Return the projects and numbers of tasks that were deleted permanently, by their events."""
    numbers, states = set(), defaultdict(dict)
    gone = Event.objects.filter(subject_type="task").exclude(subject_id__in=existing)
    for event in gone.order_by("pk"):
        state = states[event.subject_id]
        state |= {name: after for name, (_, after) in event.changes.items()}
        numbers.add((state.get("project"), state.get("number")))
    return numbers - {(None, None)}


def _broken_families(tasks):
    """Parents are in the same project and not in the trash; there are no circles."""
    by_id = {task.pk: task for task in tasks}
    for task in tasks:
        parent = by_id.get(task.parent_id)
        if parent is None or task.deleted_at:
            continue
        if parent.project_id != task.project_id:
            yield f"task {task.pk} is in another project than its parent"
        if parent.deleted_at:
            yield f"the parent of task {task.pk} is in the trash"
    up = {task.pk: {task.parent_id} for task in tasks if task.parent_id}
    before = defaultdict(set)
    for link in TaskBlocker.objects.all():
        before[link.task_id].add(link.blocker_id)
    yield from (f"task {pk} is below itself" for pk in _on_a_circle(up))
    yield from (f"task {pk} waits for itself" for pk in _on_a_circle(before))


def _on_a_circle(edges):
    for start in edges:
        reached, new = set(), {start}
        while new := {there for here in new for there in edges.get(here, ())} - reached:
            reached |= new
        if start in reached:
            yield start


def _broken_claims(tasks):
    """A task names its claim that has not ended. A done or deleted task has none."""
    not_ended = dict(Claim.objects.filter(ended_at=None).values_list("task_id", "pk"))
    for task in tasks:
        if task.claim_id != not_ended.get(task.pk):
            yield f"task {task.pk}: claim {task.claim_id}, not {not_ended.get(task.pk)}"
        if task.claim_id and (task.completed or task.deleted_at):
            yield f"task {task.pk} is done or deleted, and claimed"


def _broken_counts():
    for project, missing in TaskCountDelta.find_wrong_counts(Project.everything.all()):
        yield f"project {project.pk}: counts are wrong by {missing}"


def wrong_columns():
    """The columns for sorting and searching are those that their texts have."""
    for model in (t.model for t in RESOURCE_TYPES):
        for row in model._base_manager.all() if computed_fields(model) else ():
            for name in wrong_values(row):
                yield f"{model.__name__} {row.pk}: {name} is {getattr(row, name)!r}"
