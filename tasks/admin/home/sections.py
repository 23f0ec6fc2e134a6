"""The lists of tasks on the first page. Each leads to the list that shows exactly its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from taskflow.audit.actor import Actor
from taskflow.http.filtering import MAX_VALUES_PER_FILTER
from tasks.admin.addresses import FilterArgument, list_address, write_where
from tasks.admin.where import apply_where
from tasks.models import Project, ProjectMember, ProjectStatus, Status, Task, TaskBlocker

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


def count_up_to_limit(rows: QuerySet[Task]) -> int:
    """Return the number of rows, or MAX_COUNT + 1 for more. One query, whose time is bounded."""
    return rows.order_by()[: MAX_COUNT + 1].count()


def load_my_projects(actor: Actor) -> list[Project]:
    """Return the projects that the actor works in, the last changed first. One query, or two.

    For an administrator who is a member of none, these are the projects of the tenant.
    """
    visible = Project.objects.visible_to(actor.viewer)
    rows = visible.exclude(status=ProjectStatus.ARCHIVED).order_by("-updated_at", "-pk")
    own = ProjectMember.objects.of_viewer(actor.viewer).values("project_id")
    mine = list(rows.filter(pk__in=own)[:MAX_PROJECTS])
    return mine or (list(rows[:MAX_PROJECTS]) if actor.is_staff else [])


def load_sections(actor: Actor, projects: Sequence[Project]) -> list[Section]:
    """Return the lists of the actor. Two queries for each that is longer than what is shown."""
    today = actor.tenant.day_of(timezone.now())
    day, monday = timedelta(days=1), today + timedelta(days=7 - today.weekday())
    sections = [
        _load(actor, "overdue", _("Overdue"), assignee="me", overdue=True),
        _load(
            actor,
            "today",
            _("Due today"),
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
            assignee="me",
            status=OPEN,
            due_after=today,
            due_before=monday,
        ),
    ]
    if blockers := _find_blockers(actor):
        title, others = _("Waiting for me"), {"status": OPEN, "assignee_not": "me"}
        sections.append(_load(actor, "waiting", title, "-id", blocked_by=blockers, **others))
    else:
        sections.append(Section("waiting", _("Waiting for me"), "", [], 0))
    if projects:
        keys, title = [project.key for project in projects], _("Nobody's")
        sections.append(
            _load(actor, "nobody", title, "-id", assignee="none", status=OPEN, project=keys)
        )
    return sections


def _load(
    actor: Actor, name: str, title: str, order: str = "due", **filters: FilterArgument
) -> Section:
    """Return the section of the tasks that `GET /tasks` returns for these filters.

    Lists that may contain most tasks of a tenant are in the order of the ids, which an index has.
    """
    visible = Task.objects.visible_to(actor.viewer)
    rows = apply_where(actor, visible, write_where(filters))
    first = list(rows.select_related("project").order_by(order, "-pk")[: SHOWN + 1])
    count = len(first) if len(first) <= SHOWN else count_up_to_limit(rows)
    return Section(name, title, list_address(**filters), first[:SHOWN], count)


def _find_blockers(actor: Actor) -> list[int]:
    """Return the ids of the actor's open tasks that block open tasks of others, oldest first.

    At most as many as a filter takes. One query.
    """
    waiting = TaskBlocker.objects.filter(
        blocker=OuterRef("pk"), task__status__in=OPEN, task__deleted_at__isnull=True
    ).exclude(task__assignee=actor.user.pk)
    mine = Task.objects.visible_to(actor.viewer).filter(assignee=actor.user.pk, status__in=OPEN)
    ids = mine.filter(Q(Exists(waiting))).order_by("pk").values_list("pk", flat=True)
    return list(ids[:MAX_VALUES_PER_FILTER])
