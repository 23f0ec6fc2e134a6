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

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.http.errors import Invalid
from taskflow.http.filtering import EXCLUDING, MOST_TOGETHER
from taskflow.http.paging import PageParams
from taskflow.http.schema import In
from tasks.actions.tags import find_tags
from tasks.actions.undo import MOST_EVENTS, NO_SUCH_EVENT, TOO_MANY, visible_events
from tasks.models import Comment, Page, Project, Status, Task, TaskBlocker, TaskTag
from tasks.models.tasks import is_blocked, is_ready
from tasks.queries.lookup import (
    PROJECT_KEY,
    find_tasks,
    is_seen,
    named_project,
    project_query,
    read_id,
    read_task_key,
)
from tasks.queries.search import Condition, condition_of, exclusions_of, matches, read_query

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


class Place(NamedTuple):
    """The one project asked for, as it was named: nobody has looked yet whether there is one."""

    id: int | None
    key: str | None


class Words(NamedTuple):
    condition: Condition
    task_key: tuple[str, int] | None  # when it reads like one


def filter_tasks(actor: Actor, rows: QuerySet[Task], where: TaskWhere) -> QuerySet[Task]:
    """Raises Invalid for a project, user or task that the actor cannot see."""
    return narrow(rows, read_filters(actor, where))


def select_tasks_to_change(actor: Actor, rows: QuerySet[Task], where: TaskWhere) -> QuerySet[Task]:
    """filter_tasks() for tasks that are going to be changed.

    Raises Invalid also for an excluded tag that does not exist: a misspelt name excludes nothing,
    and the tasks that it was meant to spare would be changed.
    """
    excluded = where.sent().get("tag_not", [])
    known = find_tags(excluded) if excluded else {}
    for name in excluded:
        _known(known, name.lower(), "tag_not", f"There is no tag “{name}” to exclude.")
    return filter_tasks(actor, rows, where)


def choose_events(actor: Actor, wanted: UndoRequest) -> list[Event]:
    """The events to take back, as far as the actor sees their rows and projects, oldest first.

    Of a request, only what one actor did: anybody may choose any request id. Raises NotFound when
    there are none, or one that was named is not to be seen.
    """
    sent = wanted.sent()
    if "request_id" in sent:
        rows = Event.objects.filter(request_id=wanted.request_id)
        rows = rows.filter(_done_by(actor, sent.get("actor", "me")))
    elif "event_ids" in sent:
        rows = Event.objects.filter(pk__in=sorted(set(sent["event_ids"])))
    else:
        rows = Event.objects.filter(_done_by(actor, sent["actor"]))
        rows = rows.filter(created_at__gte=sent["since"])
        if "until" in sent:
            rows = rows.filter(created_at__lt=sent["until"])
        if "project" in sent:
            rows = rows.filter(project_id__in=_project_ids(actor, "project", [sent["project"]]))
    chosen = list(rows.select_related("actor").order_by("pk")[: MOST_EVENTS + 1])
    if len(chosen) > MOST_EVENTS:  # before what is hidden is left out, or a part would do for all
        raise TOO_MANY
    found = visible_events(actor, chosen)
    if not found or ("event_ids" in sent and len(found) < len(set(sent["event_ids"]))):
        raise NO_SUCH_EVENT
    return found


def _done_by(actor: Actor, ref: str) -> Q:
    """Events of `me`, of a user by id or `@handle`, or of no user of the tenant: `none`, which are
    those of operators and commands.
    """
    if ref == "none":
        return Q(actor__isnull=True)
    if ref == "me" and actor.is_operator:
        return Q(actor__isnull=True, operator_id=actor.user.pk)
    return Q(actor__in=_user_ids(actor, "actor", [ref]))


# ---- what the parameters name -------------------------------------------------------------------


def read_filters(actor: Actor, filters: In, *, lazily: bool = False) -> Wanted:
    """What is asked for, with ids in place of names and instants in place of days.

    Raises Invalid for a project, user or task that the actor cannot see. With `lazily`, not for
    the project, where it is the only one: rows that are found prove it, and only who finds none
    has to call check_project().
    """
    wanted: Wanted = {}
    sent = {name: value for name, value in filters.sent().items() if name not in PAGING}
    _check_number_of_values(sent)
    for name, value in sent.items():
        if name == "project" and lazily and (place := _place(value)):
            wanted[name] = place
        elif isinstance(value, list):
            read = READERS.get(name.removesuffix(EXCLUDING), _as_they_are)
            wanted[name] = tuple(read(actor, name, value))
        elif name == "q":
            wanted[name] = Words(condition_of(read_query(value)), read_task_key(value))
        elif name == "q_not":
            wanted[name] = exclusions_of(read_query(value, name))
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


def _check_number_of_values(sent: Mapping[str, Any]) -> None:
    numbers = {name: len(value) for name, value in sent.items() if isinstance(value, list)}
    if sum(numbers.values()) > MOST_TOGETHER:
        longest = max(numbers, key=lambda name: numbers[name])
        sentence = f"All filters together take {MOST_TOGETHER} values at most. Send fewer at once."
        raise Invalid.parameter(longest, sentence, "too_many")


def _as_they_are(actor: Actor, name: str, values: list[str]) -> list[str]:
    """The values of an enumeration, and free text, as plain text."""
    return [str(value) for value in values]


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
    found = Project.objects.visible_to(actor.viewer).filter(_any(map(project_query, refs)))
    known = {str(ref): pk for pk, key in found.values_list("pk", "key") for ref in (pk, key)}
    return [_known(known, ref.upper(), name, NO_PROJECT.format(ref)) for ref in refs]


def _user_ids(actor: Actor, name: str, refs: list[str]) -> list[int | None]:
    """`me`, `none` (None), an id or `@handle`."""
    known: dict[str, int | None] = {"me": actor.user.pk}
    if name.removesuffix(EXCLUDING) == "assignee":
        known["none"] = None
    named = [ref.lower() for ref in refs if ref not in known]
    if named:
        users = User.objects.visible_to(actor.viewer).filter(
            Q(pk__in=[read_id(ref) for ref in named if read_id(ref)])
            | Q(handle__in=[ref[1:] for ref in named if ref.startswith("@")])
        )
        for pk, handle in users.values_list("pk", "handle"):
            known |= {str(pk): pk, f"@{handle}": pk}
    hint = "There is no user “{}”. Give an id, a handle as in @ada, or “me”."
    return [_known(known, ref.lower(), name, hint.format(ref)) for ref in refs]


def _task_ids(actor: Actor, name: str, refs: list[str]) -> list[int]:
    """An id or a key."""
    known = {ref: task.pk for ref, task in find_tasks(actor, refs).items()}
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
    """Those of the rows that the filters select. The values may be parameters."""
    questions = QUESTIONS[rows.model]
    for name, value in wanted.items():
        if name in questions:
            rows = rows.filter(questions[name](value))
        else:
            rows = rows.exclude(questions[name.removesuffix(EXCLUDING)](value))
    return rows


def _in_project(value: Any) -> Q:
    if isinstance(value, Place):
        return Q(project=value.id) if value.key is None else Q(project__key=value.key)
    return Q(project__pk__in=value)


def _is_missing(field: str) -> Callable[[Any], Q]:
    return lambda is_so: Q((f"{field}__isnull", is_so))


def _is_one_of(field: str, ids: tuple[Any, ...]) -> Q:
    """None for what has none. By `pk`: a key itself takes no holes."""
    there = [pk for pk in ids if pk is not None]
    is_one = Q((f"{field}__pk__in", there)) if there else Q(pk__in=[])
    return is_one | Q((f"{field}__isnull", True)) if None in ids else is_one


def _waits_for(ids: tuple[Any, ...]) -> Q:
    """By the few tasks that wait for these, not by asking each task."""
    return Q(pk__in=TaskBlocker.objects.filter(blocker__pk__in=ids).values("task_id"))


def _waits_for_none(is_so: bool) -> Q:
    """Without any blocker that the task shows: what is in the trash blocks nothing."""
    links = TaskBlocker.objects.filter(
        task=OuterRef("pk"),
        blocker__deleted_at__isnull=True,
        blocker__project__deleted_at__isnull=True,
    )
    return ~Q(Exists(links)) if is_so else Q(Exists(links))


def _has_no_tag(is_so: bool) -> Q:
    links = Exists(TaskTag.objects.filter(task=OuterRef("pk")))
    return ~Q(links) if is_so else Q(links)


def _carries(names: tuple[Any, ...]) -> Exists:
    """Tasks with one of these tags. An unknown name is no error: no task carries it yet."""
    folded = [Lower(name if isinstance(name, Expression) else Value(name)) for name in names]
    links = TaskTag.objects.annotate(folded=Lower("tag__name"))
    return Exists(links.filter(task=OuterRef("pk"), folded__in=folded))


def _holds(model: type[Model], words: Words) -> Q:
    """Those that hold the words, and the task whose key it is."""
    found = matches(model, words.condition)
    if model is not Task or words.task_key is None:
        return found
    key, number = words.task_key
    return found | Q(project__key=key, number=number)


def _lacks(model: type[Model], exclusions: tuple[Condition, ...]) -> Q:
    return ~_any(matches(model, condition) for condition in exclusions)


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
        "q_not": partial(_lacks, Task),
        "project": _in_project,
        "status": lambda values: Q(status__in=values),
        "priority": lambda values: Q(priority__in=values),
        "assignee": partial(_is_one_of, "assignee"),
        "created_by": partial(_is_one_of, "created_by"),
        "tag": _carries,
        "tag_none": _has_no_tag,
        "parent": partial(_is_one_of, "parent"),
        "parent_none": _is_missing("parent"),
        "blocked_by": _waits_for,
        "blocked_by_none": _waits_for_none,
        "external_ref": lambda refs: Q(external_ref__in=refs),
        "external_ref_none": _is_missing("external_ref"),
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
        "q_not": partial(_lacks, Comment),
        "project": lambda ids: Q(task__project__pk__in=ids),
        "task": lambda ids: Q(task__pk__in=ids),
        "author": partial(_is_one_of, "author"),
        **_times("created_at", "updated_at"),
    },
    Page: {
        "q": partial(_holds, Page),
        "q_not": partial(_lacks, Page),
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
