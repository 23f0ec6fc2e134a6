"""The demo: two small companies that could exist, and an operator of the platform.

Made through the same actions as everything else, so all of it is on record.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.db import transaction

from accounts.actions import create_operator, create_user, found_tenant, issue_token
from accounts.actor import Actor
from accounts.events.models import Via
from accounts.models import Kind, Scope, Tenant, User
from accounts.tenancy import inside
from accounts.tokens import make_text
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.tasks import create_task
from tasks.models import Priority, Project, Role, Status, Task

DEMO_PASSWORD = "taskflow-demo-2026"  # noqa: S105 - known to everybody, made only with DEBUG on
DEMO_TENANT = "acme"
DEMO_EMAIL = "ada@acme.example"
OPERATOR_EMAIL = "operator@platform.example"

HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW
TODO, DOING, DONE = Status.TODO, Status.IN_PROGRESS, Status.DONE


@dataclass
class TaskPlan:
    title: str
    status: Status = TODO
    priority: Priority = MEDIUM
    assignee: str | None = None
    tags: tuple[str, ...] = ()
    due_in_days: int | None = None
    at_hour: int | None = None  # due at this hour (UTC) instead of any time of the day
    below: str | None = None  # the title of its parent
    description: str = ""
    waits_for: tuple[str, ...] = ()  # titles of tasks before it
    comments: tuple[tuple[str, str], ...] = ()  # author, text


@dataclass
class PagePlan:
    title: str
    owner: str
    body: str
    is_published: bool = True


@dataclass
class ProjectPlan:
    key: str
    name: str
    description: str
    owner: str
    members: dict[str, Role]
    tasks: list[TaskPlan]
    pages: list[PagePlan] = field(default_factory=list)


@dataclass
class TenantPlan:
    name: str
    subdomain: str
    time_zone: str
    people: dict[str, str]  # handle: full name; the first administers the tenant
    agent: tuple[str, str]
    answers_for_agent: str
    tags: dict[str, str]  # name: colour
    projects: list[ProjectPlan] = field(default_factory=list)


@dataclass
class Seeded:
    """What a newcomer may be told once."""

    password: str
    token: str
    users: int = 0
    projects: int = 0
    tasks: int = 0


TENANTS = [
    TenantPlan(
        name="Acme Rockets",
        subdomain=DEMO_TENANT,
        time_zone="Europe/Berlin",
        people={
            "ada": "Ada Lindqvist",
            "bob": "Bob Okafor",
            "carla": "Carla Mendes",
            "dmitri": "Dmitri Volkov",
        },
        agent=("scout", "Scout (release agent)"),
        answers_for_agent="ada",
        tags={"bug": "#D73A4A", "docs": "#0E8A16", "design": "#A371F7", "security": "#FB8500"},
        projects=[
            ProjectPlan(
                key="WEB",
                name="Website relaunch",
                description="A faster site with one sign-up form instead of four.",
                owner="ada",
                members={"bob": Role.ADMIN, "carla": Role.MEMBER, "scout": Role.MEMBER},
                tasks=[
                    TaskPlan(
                        "Write the copy for the landing page", DONE, MEDIUM, "carla", ("docs",)
                    ),
                    TaskPlan("Design the sign-up form", DOING, HIGH, "carla", ("design",), 2),
                    TaskPlan(
                        "Build the sign-up form",
                        TODO,
                        HIGH,
                        "bob",
                        (),
                        6,
                        waits_for=("Design the sign-up form",),
                        comments=(
                            ("carla", "The design is nearly there: three fields, one button."),
                            ("bob", "Good. I start with the **server side** meanwhile."),
                        ),
                    ),
                    TaskPlan(
                        "Check the form with a screen reader",
                        assignee="bob",
                        tags=("design",),
                        below="Build the sign-up form",
                    ),
                    TaskPlan(
                        "Show errors next to their field",
                        assignee="bob",
                        below="Build the sign-up form",
                    ),
                    TaskPlan(
                        "Images load slowly on phones",
                        TODO,
                        HIGH,
                        "scout",
                        ("bug",),
                        -1,
                        comments=(
                            ("scout", "The hero image is 4.2 MB. WebP at 1600 px is 180 kB."),
                            ("ada", "Go ahead, and tell us the time to first paint after it."),
                        ),
                    ),
                    TaskPlan("Add a changelog page", TODO, LOW, None, ("docs",)),
                    TaskPlan(
                        "Switch DNS to the new site",
                        TODO,
                        HIGH,
                        "ada",
                        due_in_days=14,
                        at_hour=8,
                        description="Lower the TTL two days before. **Roll back** by 09:00 UTC.",
                        waits_for=("Build the sign-up form", "Images load slowly on phones"),
                    ),
                ],
                pages=[
                    PagePlan(
                        "How we release",
                        "ada",
                        "1. Everything in *done*.\n2. Tell the support desk.\n3. Switch DNS.",
                    ),
                    PagePlan(
                        "Ideas for after the launch",
                        "carla",
                        "- Dark mode\n- A map of our test sites",
                        is_published=False,
                    ),
                ],
            ),
            ProjectPlan(
                key="ENG",
                name="Engine test stand",
                description="Everything up to the first hot fire.",
                owner="bob",
                members={"ada": Role.ADMIN, "dmitri": Role.MEMBER, "scout": Role.MEMBER},
                tasks=[
                    TaskPlan("Order the pressure sensors", DONE, HIGH, "dmitri"),
                    TaskPlan("Calibrate the load cells", DOING, HIGH, "dmitri", (), 3),
                    TaskPlan("Review the abort sequence", TODO, HIGH, "bob", ("security",), 5, 14),
                    TaskPlan("Log sensor data at 10 kHz", DOING, MEDIUM, "scout", (), 9),
                    TaskPlan("Valve 3 sticks below 5 °C", TODO, HIGH, "dmitri", ("bug",), 1),
                    TaskPlan(
                        "Write the hot-fire checklist",
                        TODO,
                        MEDIUM,
                        "ada",
                        ("docs",),
                        12,
                        waits_for=("Calibrate the load cells", "Review the abort sequence"),
                        comments=(("dmitri", "The load cells drift after an hour. See ENG-2."),),
                    ),
                    TaskPlan(
                        "Agree on who may abort",
                        assignee="ada",
                        tags=("security",),
                        below="Write the hot-fire checklist",
                    ),
                ],
                pages=[
                    PagePlan("Abort codes", "bob", "- **A1** overheat\n- **A2** no flow"),
                    PagePlan("Lessons so far", "dmitri", "Order spare valves.", is_published=False),
                ],
            ),
        ],
    ),
    TenantPlan(
        name="Globex Foods",
        subdomain="globex",
        time_zone="America/New_York",
        people={"mallory": "Mallory Chen", "nina": "Nina Sørensen", "omar": "Omar Haddad"},
        agent=("clerk", "Clerk (stock agent)"),
        answers_for_agent="nina",
        tags={"supplier": "#1F6FEB", "urgent": "#D73A4A", "legal": "#6E7781"},
        projects=[
            ProjectPlan(
                key="SHOP",
                name="Online shop",
                description="Sell what the warehouse holds, and nothing else.",
                owner="mallory",
                members={"nina": Role.ADMIN, "clerk": Role.MEMBER},
                tasks=[
                    TaskPlan("Connect the stock list", DONE, HIGH, "clerk"),
                    TaskPlan("Show allergens on every page", DOING, HIGH, "nina", ("legal",), 4),
                    TaskPlan("Refund in one click", TODO, MEDIUM, "mallory", (), 10),
                    TaskPlan("Photograph the autumn range", TODO, LOW, None, (), 21),
                    TaskPlan(
                        "Prices differ from the till",
                        TODO,
                        HIGH,
                        "clerk",
                        ("urgent",),
                        0,
                        comments=(
                            ("clerk", "17 of 2,304 articles differ, all of them on offer."),
                            ("mallory", "The till is right. Correct the shop."),
                        ),
                    ),
                    TaskPlan("Write the terms of sale", TODO, MEDIUM, "nina", ("legal",)),
                ],
                pages=[
                    PagePlan("Allergens we name", "nina", "Nuts, milk, egg, wheat, soy, fish."),
                    PagePlan("Shop names", "mallory", "Larder? Pantry?", is_published=False),
                ],
            ),
            ProjectPlan(
                key="FARM",
                name="Farm partners",
                description="Ten farms under contract by spring.",
                owner="nina",
                members={"omar": Role.MEMBER, "mallory": Role.ADMIN},
                tasks=[
                    TaskPlan("List farms within 200 km", DONE, MEDIUM, "omar", ("supplier",)),
                    TaskPlan("Visit the first three", DOING, HIGH, "omar", ("supplier",), 7, 9),
                    TaskPlan("Draft the contract", TODO, HIGH, "nina", ("legal",), 8),
                    TaskPlan("Check the draft with counsel", below="Draft the contract"),
                    TaskPlan("Agree on delivery days", TODO, MEDIUM, "mallory", ("supplier",)),
                    TaskPlan(
                        "Plan the cold chain",
                        TODO,
                        LOW,
                        None,
                        (),
                        30,
                        waits_for=("Agree on delivery days",),
                        comments=(("omar", "Two of the farms share a cold store."),),
                    ),
                ],
                pages=[
                    PagePlan("What we ask of a farm", "nina", "Organic, within 200 km, audited."),
                    PagePlan("Prices we may pay", "nina", "To be agreed.", is_published=False),
                ],
            ),
        ],
    ),
]


def demo_is_here() -> bool:
    names = [plan.subdomain for plan in TENANTS]
    return Tenant.objects.filter(subdomain__in=names).exists()


def demo_token(tenant: Tenant) -> str:
    """The demo token's text, known only to who knows SECRET_KEY; so it need not be kept."""
    return make_text(tenant.pk, _entropy())


@transaction.atomic
def seed_demo() -> Seeded:
    """Make everything, or nothing. Passwords and token are fixed with DEBUG on, else random."""
    password = DEMO_PASSWORD if settings.DEBUG else secrets.token_urlsafe(12)
    seeded = Seeded(password=password, token="")
    for plan in TENANTS:
        _seed_tenant(plan, seeded)
    create_operator(email=OPERATOR_EMAIL, full_name="Olga Petrova", password=password)
    return seeded


def _seed_tenant(plan: TenantPlan, seeded: Seeded) -> None:
    (first, first_name), *others = plan.people.items()
    tenant = Tenant(name=plan.name, subdomain=plan.subdomain, time_zone=plan.time_zone)
    boss = User(handle=first, full_name=first_name, email=_email(plan, first), is_staff=True)
    actor = found_tenant(tenant, boss, password=seeded.password, via=Via.COMMAND)
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
            kind=Kind.AGENT,
            handle=handle,
            full_name=full_name,
            responsible=actors[plan.answers_for_agent].user,
        )
        actors[handle] = Actor(agent, tenant, via=Via.COMMAND)
        for name, color in plan.tags.items():
            create_tag(actor, name=name, color=color)
        for project_plan in plan.projects:
            _seed_project(project_plan, actors, seeded)
        if plan.subdomain == DEMO_TENANT:
            entropy = _entropy() if settings.DEBUG else None
            _, seeded.token = issue_token(
                actor, actor.user, "demo", Scope.ADMIN, None, entropy=entropy
            )
    seeded.users += len(actors)


def _seed_project(plan: ProjectPlan, actors: dict[str, Actor], seeded: Seeded) -> None:
    owner = actors[plan.owner]
    project = create_project(owner, name=plan.name, key=plan.key, description=plan.description)
    for handle, role in plan.members.items():
        add_member(owner, project, user=actors[handle].user, role=role)
    made: dict[str, Task] = {}
    for task_plan in plan.tasks:
        made[task_plan.title] = _seed_task(task_plan, project, owner, actors, made)
        for author, text in task_plan.comments:
            create_comment(actors[author], made[task_plan.title], body=text)
    for page in plan.pages:
        create_page(
            actors[page.owner],
            project,
            title=page.title,
            body=page.body,
            is_published=page.is_published,
        )
    seeded.projects += 1
    seeded.tasks += len(made)


def _seed_task(
    plan: TaskPlan,
    project: Project,
    owner: Actor,
    actors: dict[str, Actor],
    made: dict[str, Task],
) -> Task:
    due = None if plan.due_in_days is None else date.today() + timedelta(days=plan.due_in_days)
    at = (
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
        parent=made[plan.below] if plan.below else None,
        tags=plan.tags,
        blocked_by=[made[title] for title in plan.waits_for],
        due_date=at,
        due_on=None if at else due,
    )


def _email(plan: TenantPlan, handle: str) -> str:
    return f"{handle}@{plan.subdomain}.example"


def _entropy() -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"taskflow demo token", "sha256")
