"""The one filter language: from a list's query parameters to rows.

In two steps. read_filters() looks up what the parameters name; narrow() asks the question, and
touches no row: a list asks it with holes in place of the values, and compiles it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Value
from django.db.models.expressions import Expression
from django.db.models.functions import Lower

from accounts.actor import Actor
from accounts.models import Event, User
from taskflow.errors import Invalid, NotFound
from taskflow.paging import PageParams
from taskflow.schema import In
from tasks.actions.undo import MOST_EVENTS, places_of
from tasks.find import (
    PROJECT_KEY,
    find_tasks,
    is_seen,
    named_project,
    project_query,
    read_id,
    read_task_key,
)
from tasks.models import Comment, Page, Project, Status, Task, TaskBlocker, TaskTag
from tasks.models.tasks import is_blocked, is_ready
from tasks.search import Asked, ask, matches, read_query

if TYPE_CHECKING:
    from tasks.schemas.tasks import TaskWhere
    from tasks.schemas.undo import UndoRequest

M = TypeVar("M", bound=Model)
Wanted = dict[str, Any]  # what is asked for, by the names of filters
TASK_SORTS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "due_date": "due_date",
    "due_on": "due_on",
    "priority": "priority_rank",
    "title": "title",
    "number": "number",
}
PAGE_SORTS = {n: n for n in ("title", "created_at", "updated_at", "published_at")}
PROJECT_SORTS = {n: n for n in ("name", "key", "created_at", "updated_at")}
PAGING = PageParams.model_fields.keys() | {"sort"}
NO_PROJECT = "There is no project “{}”."


class Either(NamedTuple):
    """Rows that have one of the wanted values, all where there are none; and no unwanted one."""

    wanted: tuple[Any, ...]
    unwanted: tuple[Any, ...]


class Place(NamedTuple):
    """The one project asked for, as it was named: nobody has looked yet whether there is one."""

    id: int | None
    key: str | None


class Words(NamedTuple):
    text: Asked
    task_key: tuple[str, int] | None  # when it reads like one


def filter_tasks(actor: Actor, rows: QuerySet[Task], where: TaskWhere) -> QuerySet[Task]:
    """Raises Invalid for a project, user or task that the actor cannot see."""
    return narrow(rows, read_filters(actor, where))


def filter_projects_of(
    actor: Actor, rows: QuerySet[M], refs: list[str] | None, field: str
) -> QuerySet[M]:
    """Rows of the projects with these ids or keys; `field` leads to their project."""
    either = _read_either(_project_ids, actor, field, refs or [])
    return _narrow(rows, lambda ids: Q((f"{field}__in", ids)), either)


def choose_events(actor: Actor, wanted: UndoRequest) -> list[Event]:
    """The events to take back, of the projects that the actor sees, oldest first.

    Raises NotFound when there are none, or one that was named is not to be seen.
    """
    sent = wanted.sent()
    if "request_id" in sent:
        rows = Event.objects.filter(request_id=wanted.request_id)
    elif "event_ids" in sent:
        rows = Event.objects.filter(pk__in=sorted(set(sent["event_ids"])))
    else:
        rows = Event.objects.filter(actor__in=_user_ids(actor, "actor", [sent["actor"]]))
        rows = rows.filter(created_at__gte=sent["since"])
        if "until" in sent:
            rows = rows.filter(created_at__lt=sent["until"])
        if "project" in sent:
            rows = rows.filter(project_id__in=_project_ids(actor, "project", [sent["project"]]))
    seen = Project.everything.visible_to(actor)
    found = list(rows.select_related("actor").order_by("pk")[: MOST_EVENTS + 1])
    places = {pk for event in found for pk in places_of(event)}
    hidden = places - set(seen.filter(pk__in=sorted(places)).values_list("pk", flat=True))
    found = [event for event in found if not hidden & set(places_of(event))]
    if not found or ("event_ids" in sent and len(found) < len(set(sent["event_ids"]))):
        raise NotFound("There is no such event.")
    return found


# ---- what the parameters name -------------------------------------------------------------------


def read_filters(actor: Actor, filters: In, *, lazily: bool = False) -> Wanted:
    """What is asked for, with ids in place of names and instants in place of days.

    Raises Invalid for a project, user or task that the actor cannot see. With `lazily`, not for
    the project, where it is the only one: rows that are found prove it, and only who finds none
    has to call check_project().
    """
    wanted: Wanted = {}
    for name, value in filters.sent().items():
        if value is None or name in PAGING:
            continue
        if name == "project" and lazily and (place := _place(value)):
            wanted[name] = place
        elif isinstance(value, list):
            wanted[name] = _read_either(READERS.get(name, _as_they_are), actor, name, value)
        elif name == "q":
            wanted[name] = Words(ask(read_query(value)), read_task_key(value))
        elif name.endswith("_before"):
            wanted[name] = (_start(value), _day(value))
        elif name.endswith("_after"):
            wanted[name] = (_end(value), _day(value))
        else:
            wanted[name] = value
    return wanted


def check_project(actor: Actor, wanted: Wanted) -> None:
    """Raise Invalid for a project that is not there."""
    place = wanted.get("project")
    if isinstance(place, Place):
        ref = str(place.id or place.key)
        seen = is_seen(actor, Project, **named_project(ref))
        _known({ref: seen} if seen else {}, ref, "project", NO_PROJECT.format(ref))


def _place(refs: list[str]) -> Place | None:
    if len(refs) != 1:
        return None
    number = read_id(refs[0])
    is_key = number is None and PROJECT_KEY.fullmatch(refs[0])
    return Place(number, refs[0].upper() if is_key else None) if number or is_key else None


def _read_either(
    read: Callable[[Actor, str, list[str]], Iterable[Any]],
    actor: Actor,
    name: str,
    values: list[str],
) -> Either:
    unwanted = [value[1:] for value in values if value.startswith("-")]
    wanted = [value for value in values if not value.startswith("-")]
    return Either(*(tuple(read(actor, name, v)) if v else () for v in (wanted, unwanted)))


def _as_they_are(actor: Actor, name: str, values: list[str]) -> list[str]:
    return values


def _start(moment: date) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time.min, UTC)


def _end(moment: date) -> datetime:
    """The last instant of a day."""
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.max, UTC)


def _day(moment: date) -> date:
    return moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment


def _project_ids(actor: Actor, name: str, refs: list[str]) -> list[int]:
    found = Project.objects.visible_to(actor).filter(_any(map(project_query, refs)))
    known = {str(name): pk for pk, key in found.values_list("pk", "key") for name in (pk, key)}
    return [_known(known, ref.upper(), "project", NO_PROJECT.format(ref)) for ref in refs]


def _user_ids(actor: Actor, name: str, refs: list[str]) -> list[int | None]:
    """`me`, `none` (None), an id or `@handle`."""
    known: dict[str, int | None] = {"me": actor.user.pk}
    if name == "assignee":
        known["none"] = None
    named = [ref.lower() for ref in refs if ref not in known]
    if named:
        users = User.objects.visible_to(actor).filter(
            Q(pk__in=[read_id(ref) for ref in named if read_id(ref)])
            | Q(handle__in=[ref[1:] for ref in named if ref.startswith("@")])
        )
        for pk, handle in users.values_list("pk", "handle"):
            known |= {str(pk): pk, f"@{handle}": pk}
    hint = "There is no user “{}”. Write me, an id or @handle."
    return [_known(known, ref.lower(), name, hint.format(ref)) for ref in refs]


def _task_ids(actor: Actor, name: str, refs: list[str]) -> list[int | None]:
    """`none` (None), an id or a key."""
    known: dict[str, int | None] = {"none": None}
    if named := [ref for ref in refs if ref != "none"]:
        known |= {ref: task.pk for ref, task in find_tasks(actor, named).items()}
    return [_known(known, ref, name, f"There is no task “{ref}”.") for ref in refs]


def _known(known: Mapping[str, Any], ref: str, parameter: str, sentence: str) -> Any:
    if ref not in known:
        raise Invalid.parameter(parameter, sentence, "unknown_reference")
    return known[ref]


def _verbs(actor: Actor, name: str, texts: list[str]) -> list[tuple[str, str]]:
    """task.completed as ("task", "completed")."""
    pairs = [(text.partition(".")[0], text.partition(".")[2]) for text in texts]
    if not all(all(pair) for pair in pairs):
        raise Invalid.parameter(name, "Write it as task.completed.")
    return pairs


READERS: Mapping[str, Callable[[Actor, str, list[str]], Iterable[Any]]] = {
    "project": _project_ids,
    "assignee": _user_ids,
    "created_by": _user_ids,
    "owner": _user_ids,
    "author": _user_ids,
    "parent": _task_ids,
    "blocked_by": _task_ids,
    "task": _task_ids,
    "verb": _verbs,
}


# ---- the question -------------------------------------------------------------------------------


def narrow(rows: QuerySet[M], wanted: Wanted) -> QuerySet[M]:
    """Those of the rows that are asked for. The values may be holes."""
    questions = QUESTIONS[rows.model]
    for name, value in wanted.items():
        rows = _narrow(rows, questions[name], value)
    return rows


def _narrow(rows: QuerySet[M], question: Callable[[Any], Any], value: Any) -> QuerySet[M]:
    if not isinstance(value, Either):
        return rows.filter(question(value))
    if value.wanted:
        rows = rows.filter(question(value.wanted))
    return rows.exclude(question(value.unwanted)) if value.unwanted else rows


def _in_project(value: Any) -> Q:
    if isinstance(value, Place):
        return Q(project=value.id) if value.key is None else Q(project__key=value.key)
    return Q(project__pk__in=value)


def _is_one_of(field: str, ids: tuple[Any, ...]) -> Q:
    """None for what has none. By `pk`: a key itself takes no holes."""
    there = [pk for pk in ids if pk is not None]
    is_one = Q((f"{field}__pk__in", there)) if there else Q(pk__in=[])
    return is_one | Q((f"{field}__isnull", True)) if None in ids else is_one


def _waits_for(ids: tuple[Any, ...]) -> Q:
    links = TaskBlocker.objects.filter(task=OuterRef("pk"))
    named = Q(Exists(links.filter(blocker__pk__in=[pk for pk in ids if pk is not None])))
    return named | Q(~Exists(links)) if None in ids else named


def _carries(names: tuple[Any, ...]) -> Exists:
    """Tasks with one of these tags. An unknown name is no error: no task carries it yet."""
    folded = [Lower(name if isinstance(name, Expression) else Value(name)) for name in names]
    links = TaskTag.objects.annotate(folded=Lower("tag__name"))
    return Exists(links.filter(task=OuterRef("pk"), folded__in=folded))


def _holds(model: type[Model], words: Words) -> Q:
    """Those that hold the words, and the task whose key it is."""
    found = matches(model, words.text)
    if model is not Task or words.task_key is None:
        return found
    key, number = words.task_key
    return found | Q(project__key=key, number=number)


def _when(field: str, lookup: str) -> Callable[[Any], Q]:
    return lambda moment: Q((f"{field}__{lookup}", moment[0]))


def _times(*fields: str) -> dict[str, Callable[[Any], Q]]:
    """By `created_before`, `created_after` and so on: an instant, or a whole day of UTC."""
    names = {field: field.removesuffix("_at") for field in fields}
    return {
        "updated_since": lambda instant: Q(updated_at__gte=instant),
        **{f"{name}_before": _when(field, "lt") for field, name in names.items()},
        **{f"{name}_after": _when(field, "gt") for field, name in names.items()},
    }


QUESTIONS: Mapping[type[Model], Mapping[str, Callable[[Any], Any]]] = {
    Task: {
        "q": partial(_holds, Task),
        "project": _in_project,
        "status": lambda values: Q(status__in=values),
        "priority": lambda values: Q(priority__in=values),
        "assignee": partial(_is_one_of, "assignee"),
        "created_by": partial(_is_one_of, "created_by"),
        "tag": _carries,
        "parent": partial(_is_one_of, "parent"),
        "blocked_by": _waits_for,
        "external_ref": lambda refs: Q(external_ref__in=refs),
        "ready": lambda is_so: is_ready() if is_so else Q(status=Status.DONE) | Q(is_blocked()),
        # A day due must be over by the instant, or lie ahead of it, in UTC.
        "due_before": lambda moment: Q(due_date__lt=moment[0]) | Q(due_on__lt=moment[1]),
        "due_after": lambda moment: Q(due_date__gt=moment[0]) | Q(due_on__gt=moment[1]),
        **_times("created_at", "updated_at", "completed_at"),
    },
    Project: {
        "status": lambda values: Q(status__in=values),
        "owner": partial(_is_one_of, "owner"),
        **_times("created_at", "updated_at"),
    },
    Comment: {
        "q": partial(_holds, Comment),
        "task": lambda ids: Q(task__pk__in=ids),
        "author": partial(_is_one_of, "author"),
        **_times("created_at", "updated_at"),
    },
    Page: {
        "q": partial(_holds, Page),
        "project": _in_project,
        "owner": partial(_is_one_of, "owner"),
        "is_published": lambda is_so: Q(is_published=is_so),
        **_times("created_at", "updated_at"),
    },
    Event: {
        "of_task": lambda pk: Q(subject_type="task", subject_id=pk),
        "of_project": lambda pk: Q(project_id=pk),
        "verb": lambda pairs: _any(Q(subject_type=noun, verb=verb) for noun, verb in pairs),
        "since": lambda instant: Q(created_at__gte=instant),
        "until": lambda instant: Q(created_at__lt=instant),
    },
}


def _any(questions: Iterable[Q]) -> Q:
    return reduce(or_, questions)
