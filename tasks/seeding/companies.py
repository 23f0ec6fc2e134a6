"""The rows of the demo: two companies with users, projects, tasks and pages."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.models import Priority, Role, Status

DEMO_TENANT = "acme"
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
    parent: str | None = None  # the title of the parent
    description: str = ""
    blocked_by: tuple[str, ...] = ()  # titles of the blockers
    comments: tuple[tuple[str, str], ...] = ()  # (handle of the author, text)


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
    people: dict[str, str]  # handle: full name; the first is the administrator
    agent: tuple[str, str]  # handle, full name
    responsible_for_agent: str  # handle
    tags: dict[str, str]  # name: color
    projects: list[ProjectPlan] = field(default_factory=list)


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
        responsible_for_agent="ada",
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
                        blocked_by=("Design the sign-up form",),
                        comments=(
                            ("carla", "The design is nearly there: three fields, one button."),
                            ("bob", "Good. I start with the **server side** in the meantime."),
                        ),
                    ),
                    TaskPlan(
                        "Check the form with a screen reader",
                        assignee="bob",
                        tags=("design",),
                        parent="Build the sign-up form",
                    ),
                    TaskPlan(
                        "Show errors next to their field",
                        assignee="bob",
                        parent="Build the sign-up form",
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
                        blocked_by=("Build the sign-up form", "Images load slowly on phones"),
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
                        blocked_by=("Calibrate the load cells", "Review the abort sequence"),
                        comments=(("dmitri", "The load cells drift after an hour. See ENG-2."),),
                    ),
                    TaskPlan(
                        "Agree on who may abort",
                        assignee="ada",
                        tags=("security",),
                        parent="Write the hot-fire checklist",
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
        responsible_for_agent="nina",
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
                    TaskPlan("Check the draft with counsel", parent="Draft the contract"),
                    TaskPlan("Agree on delivery days", TODO, MEDIUM, "mallory", ("supplier",)),
                    TaskPlan(
                        "Plan the cold chain",
                        TODO,
                        LOW,
                        None,
                        (),
                        30,
                        blocked_by=("Agree on delivery days",),
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
