"""The event feed as the API shows it: its filters, and what each event is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet

from accounts.schemas.events import build_event_response
from taskflow.audit.actor import Actor
from taskflow.audit.event_types import known_event_types
from taskflow.audit.feed import FeedFilters
from taskflow.audit.history import read_history
from taskflow.audit.models import Event
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Invalid, NotFound
from taskflow.http.filtering import MAX_FILTER_VALUES
from taskflow.http.references import describe_unknown
from taskflow.http.responses import Lookup
from taskflow.http.validation import suggest
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Comment, Project, Task
from tasks.queries.filters import read_users
from tasks.queries.lookup import find_project_ids, find_task_ids, project_lookup, task_lookup

if TYPE_CHECKING:
    from tasks.schemas.feed import EventFeedParams


# ---- filters ------------------------------------------------------------------------------------


def read_feed_filters(actor: Actor, params: EventFeedParams) -> FeedFilters:
    """Return the filters that were sent, with ids for keys and handles.

    At most one query for each of projects, tasks and users, and further ones for former keys and
    for rows in the trash. Raises Invalid for a row that the actor cannot see, and for an unknown
    type of events.
    """
    sent = params.sent_fields()
    refs = {name: sent.get(name, []) for name in ("project", "task", "actor", "type")}
    if sum(map(len, refs.values())) > MAX_FILTER_VALUES:
        sentence = f"All filters together take {MAX_FILTER_VALUES} values at most."
        raise Invalid.parameter(max(refs, key=lambda n: len(refs[n])), sentence, "too_many")
    users = read_users(actor, "actor", refs["actor"]) if refs["actor"] else []
    return FeedFilters(
        projects=_read_projects(actor, refs["project"]),
        tasks=_read_tasks(actor, refs["task"]),
        actors=tuple(pk for pk in users if pk is not None),
        types=tuple(map(_read_type, refs["type"])),
    )


def _read_type(text: str) -> tuple[str, str]:
    known = known_event_types()
    if text not in known:
        sentence = f"There is no type of events “{text}”.{suggest(text, known)}"
        raise Invalid.parameter("type", sentence)
    subject_type, _, verb = text.partition(".")
    return subject_type, verb


def _read_projects(actor: Actor, refs: Sequence[str]) -> tuple[int, ...]:
    ids = find_project_ids(actor, refs) if refs else {}
    if missing := [ref for ref in refs if ref not in ids]:
        rows = _visible_projects(actor.viewer).filter(_matches(missing, project_lookup))
        ids |= _by_ref(missing, rows.values_list("pk", "key"))
    return _get_ids(ids, refs, "project")


def _read_tasks(actor: Actor, refs: Sequence[str]) -> tuple[int, ...]:
    ids = find_task_ids(actor, refs) if refs else {}
    if missing := [ref for ref in refs if ref not in ids]:
        rows = Task.everything.filter(project__in=_visible_projects(actor.viewer))
        found = rows.filter(_matches(missing, task_lookup)).select_related("project")
        ids |= _by_ref(missing, ((task.pk, task.key) for task in found))
    return _get_ids(ids, refs, "task")


def _visible_projects(viewer: Viewer) -> QuerySet[Project]:
    """Return the visible projects, also those in the trash."""
    rows: QuerySet[Project] = Project.everything.visible_to(viewer)
    return rows


def _matches(refs: Iterable[str], lookup: Callable[[str], Lookup]) -> Q:
    """Return the condition that a row has one of the ids or keys. Other texts match no row."""
    condition = Q(pk__in=[])
    for ref in refs:
        with suppress(NotFound):
            condition |= Q(**lookup(ref))
    return condition


def _by_ref(refs: Iterable[str], rows: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Return the ids of (id, key) by the texts that name them."""
    ids = {name: pk for pk, key in rows for name in (str(pk), key)}
    return {ref: ids[ref.strip().upper()] for ref in refs if ref.strip().upper() in ids}


def _get_ids(ids: Mapping[str, int], refs: Sequence[str], label: str) -> tuple[int, ...]:
    for ref in refs:
        if ref not in ids:
            raise Invalid.parameter(label, describe_unknown(label, ref), "unknown_reference")
    return tuple(ids[ref] for ref in refs)


# ---- events -------------------------------------------------------------------------------------


@dataclass
class _Subjects:
    """What the subjects of events are called and belong to. By id of the row."""

    task_keys: dict[int, str] = field(default_factory=dict)
    project_keys: dict[int, str] = field(default_factory=dict)
    tasks_of_comments: dict[int, int] = field(default_factory=dict)


def describe_events(actor: Actor, events: Sequence[Event]) -> list[dict[str, object]]:
    """Return the fields of FeedEvent for each event of read_events().

    One query for each model that the changes refer to, and at most three for the keys.
    """
    subjects = _load_subjects(events)
    return [
        build_event_response(entry)
        | _describe_subject(entry.event, subjects)
        | {"cursor": entry.event.cursor}
        for entry in read_history(actor, events)
    ]


def _load_subjects(events: Sequence[Event]) -> _Subjects:
    """Return the keys of the subjects as they are now. At most three queries."""
    subjects = _Subjects()
    comments = _read_columns(Comment, ("pk", "task_id"), _ids_of(events, "comment"))
    subjects.tasks_of_comments = dict(comments)
    tasks = {*_ids_of(events, "task"), *subjects.tasks_of_comments.values()}
    found = _read_columns(Task, ("pk", "project__key", "number"), tasks)
    subjects.task_keys = {pk: f"{key}-{number}" for pk, key, number in found}
    projects = set(_ids_of(events, "project"))
    if gone := tasks - subjects.task_keys.keys():
        projects |= {e.project_id for e in events if e.project_id and e.subject_id in gone}
    subjects.project_keys = dict(_read_columns(Project, ("pk", "key"), projects))
    return subjects


def _read_columns(model: Any, columns: tuple[str, ...], ids: Collection[int]) -> list[Row]:
    """Return these columns of the rows with these ids. One query, or none without ids."""
    if not ids:
        return []
    return _columns_queries.fetch((model, columns), IdArray(tuple(sorted(ids))))


@with_tenant_parameter
def _select_columns(model: Any, columns: tuple[str, ...], ids: IdArray) -> QuerySet[Any, Row]:
    rows: QuerySet[Any, Row] = model.everything.filter(IsInIds("pk", ids)).values_list(*columns)
    return rows


_columns_queries: QueryCache[Any] = QueryCache(_select_columns)


def _ids_of(events: Iterable[Event], subject_type: str) -> list[int]:
    return sorted({e.subject_id for e in events if e.subject_type == subject_type})


def _describe_subject(event: Event, subjects: _Subjects) -> dict[str, object]:
    """Return the subject of an event with its key, and its task."""
    key = task_id = None
    if event.subject_type == "task":
        task_id = event.subject_id
        key = subjects.task_keys.get(task_id) or _former_task_key(event, subjects)
    elif event.subject_type == "comment":
        task_id = subjects.tasks_of_comments.get(event.subject_id) or _former(event, "task")
    elif event.subject_type == "project":
        key = subjects.project_keys.get(event.subject_id) or _former(event, "key")
    return {
        "subject": {"type": event.subject_type, "id": event.subject_id, "key": key},
        "task_id": task_id,
        "task_key": key if event.subject_type == "task" else subjects.task_keys.get(task_id or 0),
    }


def _former_task_key(event: Event, subjects: _Subjects) -> str | None:
    """Return the key of a task that was deleted permanently, from the event of its deletion."""
    project = subjects.project_keys.get(event.project_id or 0)
    number = _former(event, "number")
    return f"{project}-{number}" if project and number else None


def _former(event: Event, name: str) -> Any:
    """Return the value that a field had before the event, or None if the event has none."""
    return event.changes.get(name, [None])[0]
