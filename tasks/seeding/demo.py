"""Create the demo: two small companies, and an operator of the platform.

All rows are created by the actions, so that every row has its event.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.actions.tenants import create_operator, create_tenant
from accounts.actions.tokens import issue_token
from accounts.actions.users import create_user
from accounts.models import Tenant, User, UserKind
from accounts.tokens import make_token_text
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Via
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.views import create_view
from tasks.changes.tasks import create_task
from tasks.models import Project, Task
from tasks.seeding.companies import DEMO_TENANT, TENANTS, ProjectPlan, TaskPlan, TenantPlan
from tasks.seeding.logins import DEMO_PASSWORD, OPERATOR_EMAIL


@dataclass
class Seeded:
    """What was created. The seed command prints the password and the token only once."""

    password: str
    token: str
    users: int = 0
    projects: int = 0
    tasks: int = 0


SHARED_VIEWS: Mapping[str, dict[str, Any]] = {  # of each tenant, by name
    "Urgent and open": {"where": {"priority": ["high"], "status_not": ["done"]}, "sort": "due"},
    "Work of the week": {"where": {"due_before": "8d", "status_not": ["done"]}, "layout": "board"},
}


def is_demo_seeded() -> bool:
    """Whether a tenant of the demo exists."""
    names = [plan.subdomain for plan in TENANTS]
    return Tenant.objects.filter(subdomain__in=names).exists()


def demo_token(tenant: Tenant) -> str:
    """Return the text of the demo token. It is derived from SECRET_KEY, so it is not stored."""
    return make_token_text(tenant.pk, _entropy())


@transaction.atomic
def seed_demo() -> Seeded:
    """Create the whole demo in one transaction.

    The password and the token are fixed if DEBUG is on, otherwise random.
    """
    password = DEMO_PASSWORD if settings.DEBUG else secrets.token_urlsafe(12)
    seeded = Seeded(password=password, token="")
    for plan in TENANTS:
        _seed_tenant(plan, seeded)
    create_operator(email=OPERATOR_EMAIL, full_name="Olga Petrova", password=password)
    return seeded


def _seed_tenant(plan: TenantPlan, seeded: Seeded) -> None:
    (first, first_name), *others = plan.people.items()
    tenant = Tenant(name=plan.name, subdomain=plan.subdomain, time_zone=plan.time_zone)
    administrator = User(
        handle=first, full_name=first_name, email=_email(plan, first), is_staff=True
    )
    actor = create_tenant(tenant, administrator, password=seeded.password, via=Via.COMMAND)
    with inside(tenant):
        actors = {first: actor}
        for handle, full_name in others:
            user = create_user(
                actor,
                handle=handle,
                email=_email(plan, handle),
                full_name=full_name,
                password=seeded.password,
            )
            actors[handle] = Actor(user, tenant, via=Via.COMMAND)
        handle, full_name = plan.agent
        agent = create_user(
            actor,
            kind=UserKind.AGENT,
            handle=handle,
            full_name=full_name,
            responsible=actors[plan.responsible_for_agent].user,
        )
        actors[handle] = Actor(agent, tenant, via=Via.COMMAND)
        for name, color in plan.tags.items():
            create_tag(actor, name=name, color=color)
        for project_plan in plan.projects:
            _seed_project(project_plan, actors, seeded)
        for name, values in SHARED_VIEWS.items():
            create_view(actor, name=name, is_shared=True, **values)
        if plan.subdomain == DEMO_TENANT:
            entropy = _entropy() if settings.DEBUG else None
            _, seeded.token = issue_token(
                actor, actor.user, "demo", TokenScope.ADMIN, None, entropy=entropy
            )
    seeded.users += len(actors)


def _seed_project(plan: ProjectPlan, actors: dict[str, Actor], seeded: Seeded) -> None:
    owner = actors[plan.owner]
    project = create_project(owner, name=plan.name, key=plan.key, description=plan.description)
    for handle, role in plan.members.items():
        add_member(owner, project, user=actors[handle].user, role=role)
    created: dict[str, Task] = {}  # by title
    for task_plan in plan.tasks:
        created[task_plan.title] = _seed_task(task_plan, project, owner, actors, created)
        for author, text in task_plan.comments:
            create_comment(actors[author], created[task_plan.title], body=text)
    for page in plan.pages:
        create_page(
            actors[page.owner],
            project,
            title=page.title,
            body=page.body,
            is_published=page.is_published,
        )
    seeded.projects += 1
    seeded.tasks += len(created)


def _seed_task(
    plan: TaskPlan,
    project: Project,
    owner: Actor,
    actors: dict[str, Actor],
    created: dict[str, Task],
) -> Task:
    due = None if plan.due_in_days is None else date.today() + timedelta(days=plan.due_in_days)
    due_date = (
        None
        if due is None or plan.at_hour is None
        else datetime.combine(due, time(plan.at_hour), UTC)
    )
    return create_task(
        owner,
        project,
        title=plan.title,
        description=plan.description,
        status=plan.status,
        priority=plan.priority,
        assignee=actors[plan.assignee].user if plan.assignee else None,
        parent=created[plan.parent] if plan.parent else None,
        tags=plan.tags,
        blocked_by=[created[title] for title in plan.blocked_by],
        due_date=due_date,
        due_on=None if due_date else due,
    )


def _email(plan: TenantPlan, handle: str) -> str:
    return f"{handle}@{plan.subdomain}.example"


def _entropy() -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"taskflow demo token", "sha256")
