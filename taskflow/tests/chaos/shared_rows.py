"""The rows and users that the clients of one race share."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.actions.sessions import start_session
from accounts.tests.factories import ApiTokenFactory, UserFactory
from conftest import PASSWORD, Fixtures, token_of
from taskflow.audit.actor import Actor
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.invitations import invite
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.webhooks import create_webhook, ping
from tasks.changes.tasks import create_task, delete_task
from tasks.models import Notification, Task
from tasks.tests.factories import ClaimFactory, ViewFactory


@dataclass
class SharedRows:
    """Rows by kind, tokens of the users who send requests, and tokens that may be revoked."""

    ids: dict[str, list[int]]
    actors: list[Actor]
    tokens: list[str]  # of the actors, in their order
    spare_tokens: list[str]


def create_shared_rows(fixtures: Fixtures, name: str) -> SharedRows:
    """Create two projects of Ada's with four tasks, and two users. `name` makes theirs unique.

    Requests are sent by Boss (twice as many), by Ada and by one of the two users.
    """
    boss, ada = fixtures.boss, fixtures.ada
    users = [UserFactory(actor=boss, handle=f"u{n}-{name}", password=PASSWORD) for n in range(2)]
    actors = [boss, ada, boss, Actor(users[0], fixtures.acme)]
    spare = [ApiTokenFactory(actor=actor) for actor in actors]
    with inside(fixtures.acme):
        ids = _create_work(actors, name)
        started = [start_session(actor, user_agent="") for actor in actors]
    ids["session"] = [session.pk for session in started]
    ids |= {"user": [user.pk for user in users], "token": [token.pk for token, _ in spare]}
    return SharedRows(ids, actors, [token_of(a) for a in actors], [text for _, text in spare])


def create_notifications(actors: list[Actor], task: Task) -> list[Notification]:
    """Create a notification of each actor about the task."""
    Notification.objects.add(
        Notification(user=actor.user, kind="assigned", task=task) for actor in actors
    )
    return list(Notification.objects.filter(task=task))


def _create_work(actors: list[Actor], name: str) -> dict[str, list[int]]:
    boss, ada, _, member = actors
    projects = [create_project(ada, name=f"{name}{n}", key=f"R{name}{n}") for n in "AB"]
    memberships = [add_member(ada, project, user=member.user) for project in projects]
    tasks = [create_task(ada, projects[n % 2], title=f"t{n}") for n in range(4)]
    comments = [create_comment(actor, tasks[0], body="c") for actor in (boss, ada, member)]
    pages = [create_page(actor, projects[0], title="p") for actor in (boss, ada, member)]
    tags = [create_tag(boss, name=f"{name}-{n}") for n in range(2)]
    delete_task(ada, tasks[3])  # something to restore
    claims = [
        ClaimFactory(actor=actor, project=projects[0], task=task)
        for actor, task in zip((boss, member), tasks, strict=False)
    ]
    invitations = [invite(boss, email=f"{name}-{n}@x.example") for n in range(2)]
    webhooks = [create_webhook(ada, url="https://hooks.example/", project=p) for p in projects]
    deliveries = [ping(ada, webhook) for webhook in webhooks]
    rows = {
        "webhook": webhooks,
        "delivery": deliveries,
        "invitation": invitations,
        "claim": claims,
        "project": projects,
        "membership": memberships,
        "task": tasks,
        "comment": comments,
        "page": pages,
        "tag": tags,
        "view": [ViewFactory(actor=boss, is_shared=True)],
        "notification": create_notifications([boss, ada, member], tasks[0]),
    }
    return {kind: [row.pk for row in of_kind] for kind, of_kind in rows.items()}
