"""The lists of tasks on the first page. Each leads to the list that shows exactly its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from taskflow.audit.actor import Actor
from taskflow.db.query import QueryCache
from taskflow.db.types import Row
from taskflow.db.viewer import Viewer
from taskflow.http.filtering import MAX_VALUES_PER_FILTER
from taskflow.tenancy import with_tenant_parameter
from tasks.admin.addresses import FilterArgument, list_address, write_where
from tasks.admin.where import read_where
from tasks.models import Project, ProjectMember, ProjectStatus, Status, Task, TaskBlocker
from tasks.models.tasks import EARLIEST
from tasks.queries.conditions import apply_filters

SHOWN = 5  # tasks of each list
MAX_COUNT = 1000  # more are shown as 1,000+
MAX_PROJECTS = 20  # that a person works in; the ones that changed last
OPEN = (Status.TODO.value, Status.IN_PROGRESS.value)


@dataclass(frozen=True)
class Section:
    """A list of tasks: its first ones, and how many there are."""

    name: str
    title: str
    address: str
    tasks: Sequence[Task]
    count: int

    @property
    def shown_count(self) -> str:
        return format_count(self.count)


def format_count(count: int) -> str:
    """Return the number for people. More than MAX_COUNT were not counted."""
    return f"{MAX_COUNT:,}+" if count > MAX_COUNT else f"{count:,}"


def load_my_projects(actor: Actor) -> list[Project]:
    """Return the projects that the actor works in, the last changed first. One query, or two.

    For an administrator who is a member of none, these are the projects of the tenant.
    """
    mine = _projects_query.fetch_objects((True,), actor.viewer)
    return mine or (_projects_query.fetch_objects((False,), actor.viewer) if actor.is_staff else [])


@with_tenant_parameter
def _select_projects(is_own: bool, viewer: Viewer) -> QuerySet[Project]:
    visible = Project.objects.visible_to(viewer)
    rows = visible.exclude(status=ProjectStatus.ARCHIVED).order_by("-updated_at", "-pk")
    if is_own:
        own = ProjectMember.objects.of_viewer(viewer).values("project_id")
        rows = rows.filter(pk__in=own)
    limited: QuerySet[Project] = rows[:MAX_PROJECTS]
    return limited


_projects_query: QueryCache[Project] = QueryCache(_select_projects)


def load_sections(actor: Actor, projects: Sequence[Project]) -> list[Section]:
    """Return the lists of the actor. Two queries for each that is longer than what is shown."""
    today = actor.tenant.day_of(timezone.now())
    day, monday = timedelta(days=1), today + timedelta(days=7 - today.weekday())
    sections = [
        _load(actor, "overdue", _("Overdue"), (EARLIEST, today), assignee="me", overdue=True),
        _load(
            actor,
            "today",
            _("Due today"),
            (today, today),
            assignee="me",
            status=OPEN,
            overdue=False,
            due_after=today - day,
            due_before=today + day,
        ),
        _load(
            actor,
            "week",
            _("Later this week"),
            (today + day, monday - day),
            assignee="me",
            status=OPEN,
            due_after=today,
            due_before=monday,
        ),
    ]
    if blockers := _find_blockers(actor):
        title, others = _("Waiting for me"), {"status": OPEN, "assignee_not": "me"}
        sections.append(_load(actor, "waiting", title, None, blocked_by=blockers, **others))
    else:
        sections.append(Section("waiting", _("Waiting for me"), "", [], 0))
    if projects:
        keys, title = [project.key for project in projects], _("Nobody's")
        sections.append(
            _load(actor, "nobody", title, None, assignee="none", status=OPEN, project=keys)
        )
    return sections


def _load(
    actor: Actor,
    name: str,
    title: str,
    due: tuple[date, date] | None,
    **filters: FilterArgument,
) -> Section:
    """Return the section of the tasks that `GET /tasks` returns for these filters.

    The filters select open tasks only. Those that select tasks which are due on the days `due`
    only are in this order, others have the newest first.
    """
    values = read_where(actor, write_where(filters))
    order, names = ("due", "pk") if due else ("-pk",), tuple(values)
    arguments = (actor.viewer, tuple(values.values()), _times_of(due) if due else ())
    first = _section_query.fetch_objects((names, order), *arguments)
    count = len(first)
    if count > SHOWN:
        count = _count_query.count((names, (), MAX_COUNT + 1), *arguments)
    return Section(name, title, list_address(**filters), first[:SHOWN], count)


def _times_of(days: tuple[date, date]) -> tuple[datetime, datetime]:
    """Return times before and after all values of the column `due` of the tenant's days.

    A day of the tenant begins up to 14 hours before the day in UTC, and ends up to 12 after it.
    """
    first, last = days[0] - timedelta(days=1), days[1] + timedelta(days=2)
    return datetime.combine(first, time.min, UTC), datetime.combine(last, time.min, UTC)


@with_tenant_parameter
def _select_ids(
    names: tuple[str, ...],
    order: tuple[str, ...],
    limit: int,
    viewer: Viewer,
    values: Sequence[object],
    due: Sequence[datetime],
) -> QuerySet[Task, Row]:
    """Select the ids of the first tasks of a section. The conditions beside the filters change
    nothing; by them the database finds the index of open tasks, and the range of it.
    """
    rows: QuerySet[Task] = Task.objects.visible_to(viewer)
    rows = apply_filters(rows, dict(zip(names, values, strict=True)))
    rows = rows.filter(completed_at__isnull=True)
    if due:
        rows = rows.filter(due__gte=due[0], due__lt=due[1])
    ids: QuerySet[Task, Row] = rows.order_by(*order).values_list("pk")
    return ids[:limit]


@with_tenant_parameter
def _select_first(
    names: tuple[str, ...], order: tuple[str, ...], *arguments: Any
) -> QuerySet[Task]:
    """Select the tasks that are shown. Their ids are chosen first, so that only these are read."""
    ids = _select_ids(names, order, SHOWN + 1, *arguments)
    rows: QuerySet[Task] = Task.objects.filter(pk__in=ids).select_related("project")
    return rows.order_by(*order)


_section_query: QueryCache[Task] = QueryCache(_select_first)
_count_query: QueryCache[Task] = QueryCache(_select_ids)


def _find_blockers(actor: Actor) -> list[int]:
    """Return the ids of the actor's open tasks that block open tasks of others, oldest first.

    At most as many as a filter takes. One query.
    """
    return [pk for (pk,) in _blockers_query.fetch((), actor.viewer)]


@with_tenant_parameter
def _select_blockers(viewer: Viewer) -> QuerySet[Task, Row]:
    waiting = TaskBlocker.objects.filter(
        blocker=OuterRef("pk"), task__status__in=OPEN, task__deleted_at__isnull=True
    ).exclude(task__assignee=viewer.user_id)
    mine = Task.objects.visible_to(viewer).filter(
        assignee=viewer.user_id, completed_at__isnull=True
    )
    ids: QuerySet[Task, Row] = mine.filter(Exists(waiting)).order_by("pk").values_list("pk")
    return ids[:MAX_VALUES_PER_FILTER]


_blockers_query: QueryCache[Task] = QueryCache(_select_blockers)
