"""The admin's first page: counts of tasks, projects and users, and the latest events."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Count, Q
from django.http import HttpRequest
from django.utils import timezone

from accounts.admin.recorded import get_actor
from accounts.models import User, UserKind
from taskflow.audit.history import USERS_OF_EVENT, read_history
from taskflow.audit.models import Event
from taskflow.audit.visibility import select_log
from tasks.admin.start_here import list_first_steps
from tasks.models import Outcome, Project, ProjectStatus, Status, Task

LATEST_EVENTS = 12


def build_dashboard(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return the template context. Four queries, and one per model that the events refer to."""
    actor, now = get_actor(request), timezone.now()
    is_open = ~Q(status=Status.DONE)
    overdue = is_open & (Q(due_date__lt=now) | Q(due_on__lt=actor.tenant.day_of(now)))
    tasks = Task.objects.visible_to(actor.viewer).aggregate(
        todo=Count("pk", filter=Q(status=Status.TODO)),
        in_progress=Count("pk", filter=Q(status=Status.IN_PROGRESS)),
        overdue=Count("pk", filter=overdue),
        done_this_week=Count(
            "pk",
            filter=Q(outcome=Outcome.COMPLETED, completed_at__gte=now - timedelta(days=7)),
        ),
    )
    users = User.objects.active().aggregate(
        humans=Count("pk", filter=Q(kind=UserKind.HUMAN)),
        agents=Count("pk", filter=Q(kind=UserKind.AGENT)),
    )
    projects = Project.objects.visible_to(actor.viewer).filter(status=ProjectStatus.ACTIVE).count()
    events = select_log(actor.viewer, Event.objects.all())
    latest = events.select_related(*USERS_OF_EVENT).order_by("-id")[:LATEST_EVENTS]
    return context | {
        "title": "Overview",
        "cards": [
            ("To do", tasks["todo"], "/admin/tasks/task/?status__exact=todo"),
            ("In progress", tasks["in_progress"], "/admin/tasks/task/?status__exact=in_progress"),
            ("Overdue", tasks["overdue"], "/admin/tasks/task/"),
            (
                "Done in 7 days",
                tasks["done_this_week"],
                "/admin/tasks/task/?outcome__exact=completed",
            ),
            ("Active projects", projects, "/admin/tasks/project/?status__exact=active"),
            ("People", users["humans"], "/admin/accounts/user/?kind__exact=human"),
            ("Agents", users["agents"], "/admin/accounts/user/?kind__exact=agent"),
        ],
        "first_steps": list_first_steps(actor),
        "entries": read_history(actor, list(latest)),
    }
