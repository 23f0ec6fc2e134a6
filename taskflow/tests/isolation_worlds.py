"""The rows that the isolation matrix sends as foreign ids, and the clients to whom they are foreign."""

from __future__ import annotations

from typing import Any

from accounts.actions.mail_tokens import issue_mail_token
from accounts.actions.second_factors import begin_enrolment
from accounts.actions.sessions import start_session
from accounts.actions.tenants import create_operator
from accounts.actions.tokens import create_token
from accounts.actions.users import create_user, deactivate_user
from accounts.auth import ACTING_TENANT
from accounts.models import ApiToken, MailPurpose, Session, User
from conftest import PASSWORD, ApiClient, sign_in_browser, token_of
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.audit.recorder import record
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.invitations import invite
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.webhooks import create_webhook, ping
from tasks.changes.tasks import create_task, delete_task
from tasks.export.sequences import set_sequences
from tasks.models import Comment, Notification, Page, Project, ProjectMember, Tag, Task
from tasks.models.claims import Claim
from tasks.models.deliveries import Delivery
from tasks.models.invitations import Invitation
from tasks.models.webhooks import Webhook
from tasks.tests.factories import ClaimFactory, ViewFactory

MARKER = "qzforeign"
ADDRESS = "198.51.100.77"  # of the foreign sign-ins
LAST_ID = 7_000_000_000
NUMBERED = (User, Comment, Event, Page, Project, ProjectMember, Tag, Task, ApiToken)
NUMBERED += (Session, Invitation, Claim, Webhook, Delivery)

Ids = dict[str, Any]
Clients = dict[str, ApiClient]


def build_worlds(fixtures: Any) -> list[tuple[Ids, Clients]]:
    """Create foreign rows of two kinds, with the clients to whom each of them is foreign.

    The first are those of another tenant. The second are those of a project of the own tenant, of
    its owner and of its administrators. Their ids and texts occur nowhere else.
    """
    set_sequences({model._meta.db_table: LAST_ID for model in NUMBERED})
    clients = build_clients(fixtures)
    other = create_rows(fixtures.mallory, fixtures.mallory, "QZO")
    with inside(fixtures.globex):
        other["tag"] = create_tag(fixtures.mallory, name=f"{MARKER} tag").pk
        user = create_user(fixtures.mallory, email=f"{MARKER}@globex.example")
    other |= dict.fromkeys(("carl", "eve", "bob", "new", "user"), user.pk)
    hidden = create_rows(fixtures.carl, fixtures.boss, "QZH")
    of_acme = {name: c for name, c in clients.items() if name != "other_tenant"}
    without_staff = {
        name: c for name, c in clients.items() if name not in ("staff", "operator_in_tenant")
    }
    return [(other, of_acme), (hidden, without_staff)]


def create_rows(owner: Actor, staff: Actor, key: str) -> Ids:
    """Create one row of each kind that only the owner, or the staff of the tenant, may see."""
    with inside(owner.tenant):
        project = create_project(owner, name=f"{MARKER} project", key=key)
        task = create_task(owner, project, title=f"{MARKER} task", external_ref="known")
        gone = create_task(owner, project, title=f"{MARKER} gone")
        delete_task(owner, gone)
        comment = create_comment(owner, task, body=f"{MARKER} comment")
        page = create_page(owner, project, title=f"{MARKER} page")
        token, _ = create_token(owner, name=f"{MARKER} token", scope=TokenScope.READ)
        membership = ProjectMember.objects.get(project=project)
        event = owner.user.events.order_by("pk").last()
        rows = {
            "project": project,
            "second_project": project,
            "task": task,
            "gone": gone,
            "page": page,
        }
        rows |= {"comment": comment, "token": token, "membership": membership, "event": event}
        free = create_task(owner, project, title=f"{MARKER} free")
        webhook = create_webhook(owner, url=f"https://{MARKER}.example/", project=project)
        rows |= {"free": free, "webhook": webhook, "delivery": ping(owner, webhook)}
        rows |= {"claim": ClaimFactory(actor=owner, project=project)}
        rows |= {"view": ViewFactory(actor=owner, name=f"{MARKER} view")}
        rows |= {"notification": create_notification(owner, task)}
        rows |= create_account_rows(owner, staff)
        return {name: row.pk for name, row in rows.items()} | {"key": key, "task_key": f"{key}-1"}


def create_notification(owner: Actor, task: Task) -> Notification:
    """Create a notification of the owner about the task."""
    Notification.objects.add([Notification(user=owner.user, kind="assigned", task=task)])
    return Notification.objects.order_by("pk").last()


def create_account_rows(owner: Actor, staff: Actor) -> dict[str, Any]:
    """Create a session, a second factor, a sign-in and a link of the owner, and an invitation."""
    session = start_session(owner, user_agent=MARKER)
    begin_enrolment(owner)
    factor_event = last_event(owner, subject_type="secondfactor")
    record(Actor(owner.user, owner.tenant, address=ADDRESS), owner.user, "signed_in")
    sign_in_event = last_event(owner, verb="signed_in")
    issue_mail_token(owner.tenant, MailPurpose.PASSWORD_RESET, user=owner.user)
    invitation = invite(staff, email=f"{MARKER}@invited.example", full_name=MARKER)
    invitation_event = last_event(staff, subject_type="invitation")
    return {
        "session": session,
        "invitation": invitation,
        "factor_event": factor_event,
        "sign_in_event": sign_in_event,
        "invitation_event": invitation_event,
    }


def last_event(actor: Actor, **filters: Any) -> Event:
    return actor.user.events.filter(**filters).order_by("pk").last()


def build_clients(fixtures: Any) -> Clients:
    """Return a client of each kind of actor."""
    apollo = [fixtures.apollo.pk]
    return {
        "anonymous": ApiClient(),
        "deactivated": build_deactivated(fixtures),
        "outside": ApiClient(token_of(fixtures.eve)),
        "member": ApiClient(token_of(fixtures.bob)),
        "owner": ApiClient(token_of(fixtures.ada)),
        "agent": ApiClient(token_of(fixtures.bot)),
        "agent_of_maker": build_agent_of_maker(fixtures),
        "reader": ApiClient(token_of(fixtures.bob, "read")),
        "bound": ApiClient(token_of(fixtures.bob, project_ids=apollo)),
        "staff": ApiClient(token_of(fixtures.boss)),
        "bound_staff": ApiClient(token_of(fixtures.boss, project_ids=apollo)),
        "other_tenant": ApiClient(token_of(fixtures.mallory)),
        **build_operators(fixtures),
    }


def build_deactivated(fixtures: Any) -> ApiClient:
    """Return the client of a user who was a member, and was deactivated."""
    with inside(fixtures.acme):
        user = create_user(fixtures.boss, email="former@acme.example")
    client = ApiClient(token_of(Actor(user, fixtures.acme)))
    with inside(fixtures.acme):
        deactivate_user(fixtures.boss, user)
    return client


def build_agent_of_maker(fixtures: Any) -> ApiClient:
    """Return a client with a token of the agent that its responsible user has created."""
    with inside(fixtures.acme):
        _, text = create_token(
            fixtures.ada, name="made", scope=TokenScope.ADMIN, user=fixtures.bot.user
        )
    return ApiClient(text)


def build_operators(fixtures: Any) -> Clients:
    """Return clients of an operator: a token of the platform, and a browser that works in Acme."""
    operator = create_operator(email="op@platform.example", full_name="Op", password=PASSWORD)
    browser = ApiClient(SERVER_NAME="platform.localhost")
    with inside(operator.tenant):
        sign_in_browser(browser, operator)
    session = browser.session
    session[ACTING_TENANT] = fixtures.acme.pk
    session.save()
    return {
        "operator": ApiClient(token_of(Actor(operator, operator.tenant))),
        "operator_in_tenant": browser,
    }
