"""
The cast: two tenants that must never meet.

Acme has Boss (its administrator), Ada (owner of Apollo), Carl (admin in it), Bob (member),
Bot (Ada's agent, member) and Eve (in Acme, but in no project). Globex has Mallory, who
administers it and owns a project of her own.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import django.test.client
import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions.tenants import create_tenant
from accounts.actions.tokens import issue_token
from accounts.actions.users import create_user
from accounts.models import Tenant, User, UserKind
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event, Via
from taskflow.http.request import Request
from taskflow.tenancy import inside, is_tenant_model
from taskflow.tenancy.unit import ALL_TENANTS, current_unit
from taskflow.tests.contract import api_contract
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Project, ProjectMember, Role, Task, TaskCountDelta

settings.DECLARED_READS_ONLY = True  # see taskflow/audit/guard.py

PASSWORD = "correct horse battery"
PROOF = bool(os.environ.get("PROOF"))  # `make prove`: the proofs at full length
API = "/api/v1"
# As taskflow/wsgi.py does for the server. Django's test client has no setting for it.
django.test.client.WSGIRequest = Request  # type: ignore[misc]


class CheckedClient(Client):
    """Raises BrokenContract for a response of the API that the OpenAPI document does not allow."""

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        if request["PATH_INFO"].startswith(API):
            api_contract().check(request["REQUEST_METHOD"], response)
        return response


class ApiClient(CheckedClient):
    """A client that speaks JSON with one user's token; paths start behind /api/v1."""

    def __init__(self, token: str = "", **kwargs: Any) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        super().__init__(headers=headers, raise_request_exception=False, **kwargs)
        self.token = token

    def generic(self, method: str, path: str, data: Any = "", *args: Any, **kwargs: Any) -> Any:
        path = path if path.startswith(("/api", "/admin")) else API + path
        return super().generic(method, path, data, *args, **kwargs)

    def post(self, path: str, data: Any = None, **kwargs: Any) -> Any:
        """Without `data` there is no body."""
        kwargs.setdefault("content_type", "application/json")
        return super().post(path, "" if data is None else data, **kwargs)

    def delete(self, path: str, data: Any = None, **kwargs: Any) -> Any:
        """Without `data` there is no body."""
        kwargs.setdefault("content_type", "application/json")
        return super().delete(path, "" if data is None else data, **kwargs)

    def patch(self, path: str, data: Any = None, **kwargs: Any) -> Any:
        """Without `data` there is no body."""
        kwargs.setdefault("content_type", "application/json")
        return super().patch(path, "" if data is None else data, **kwargs)

    def put(self, path: str, data: Any = None, **kwargs: Any) -> Any:
        """Without `data` there is no body."""
        kwargs.setdefault("content_type", "application/json")
        return super().put(path, "" if data is None else data, **kwargs)


@dataclass
class World:
    acme: Tenant
    globex: Tenant
    boss: Actor
    ada: Actor
    carl: Actor
    bob: Actor
    bot: Actor
    eve: Actor
    mallory: Actor
    apollo: Project
    task: Task  # in Apollo, assigned to Ada
    secret: Project  # Globex's
    secret_task: Task


def new_tenant(subdomain: str, boss: str, password: str | None = None) -> Actor:
    tenant = Tenant(name=subdomain.title(), subdomain=subdomain)
    user = User(handle=boss, email=f"{boss}@{subdomain}.example", is_staff=True)
    return create_tenant(tenant, user, password=password, via=Via.COMMAND)


def person(boss: Actor, handle: str, password: str | None = None) -> Actor:
    """A colleague of `boss`, inside his open scope."""
    email = f"{handle}@{boss.tenant.subdomain}.example"
    user = create_user(
        boss, handle=handle, email=email, full_name=handle.title(), password=password
    )
    return Actor(user, boss.tenant)


def build_world() -> World:
    boss, mallory = new_tenant("acme", "boss"), new_tenant("globex", "mallory")
    with inside(boss.tenant):
        ada, carl, bob, eve = (person(boss, name) for name in ("ada", "carl", "bob", "eve"))
        agent = create_user(boss, kind=UserKind.AGENT, handle="bot", responsible=ada.user)
        bot = Actor(agent, boss.tenant)
        apollo = create_project(ada, name="Apollo", key="APO")
        add_member(ada, apollo, user=carl.user, role=Role.ADMIN)
        add_member(ada, apollo, user=bob.user)
        add_member(ada, apollo, user=bot.user)
        task = create_task(ada, apollo, title="Launch", assignee=ada.user)
    with inside(mallory.tenant):
        secret = create_project(mallory, name="Secret", key="SEC")
        secret_task = create_task(mallory, secret, title="Plot")
    return World(
        acme=boss.tenant,
        globex=mallory.tenant,
        boss=boss,
        ada=ada,
        carl=carl,
        bob=bob,
        bot=bot,
        eve=eve,
        mallory=mallory,
        apollo=apollo,
        task=task,
        secret=secret,
        secret_task=secret_task,
    )


# In the order of their foreign keys. Copying rows costs a tenth of acting them out again.
PROPS = [User, Event, Project, ProjectMember, Task, TaskCountDelta]
_played: list[tuple[World, dict[Tenant, list[list[Any]]]]] = []


@pytest.fixture
def world(db: None, request: pytest.FixtureRequest) -> World:
    """Acted out by the first test of a process, copied for the others.

    Tests that commit act it out themselves: numbers may have been counted from one again.
    """
    marker = request.node.get_closest_marker("django_db")
    without_manager = request.config.pluginmanager.has_plugin("taskflow.tests.without_manager")
    if without_manager or (marker and marker.kwargs.get("transaction")):
        return build_world()
    if not _played:
        world = build_world()
        _played.append((world, {t: props_of(t) for t in (world.acme, world.globex)}))
        return copy.deepcopy(world)
    world, props = copy.deepcopy(_played[0])
    Tenant.objects.bulk_create(props)
    for tenant, tables in props.items():
        with inside(tenant):
            for rows in tables:
                type(rows[0])._default_manager.bulk_create(rows)
    return world


def props_of(tenant: Tenant) -> list[list[Any]]:
    with inside(tenant):
        return [list(model._default_manager.order_by("pk")) for model in PROPS]


@pytest.fixture
def client() -> CheckedClient:
    """Pytest-django's fixture of this name, with responses checked."""
    return CheckedClient()


@pytest.fixture
def as_() -> Any:
    """as_(actor) is a client with a token of his; as_(actor, "read") with less scope."""

    def client(actor: Actor, scope: str = "admin", **kwargs: Any) -> ApiClient:
        return ApiClient(token_of(actor, scope, **kwargs))

    return client


def token_of(actor: Actor, scope: str = "admin", **kwargs: Any) -> str:
    with inside(actor.tenant):
        kwargs.setdefault("expires_at", None)
        _token, text = issue_token(actor, actor.user, "test", TokenScope(scope), **kwargs)
    return text


@pytest.fixture
def events() -> Any:
    """events(tenant) are the events of a tenant so far, oldest first."""

    def read(tenant: Tenant, **filters: Any) -> list[Event]:
        with inside(tenant):
            return list(Event.objects.filter(**filters).order_by("id"))

    return read


@pytest.fixture
def assert_statements() -> Any:
    """assert_statements(n): n statements on rows; what opens, binds and closes scopes aside."""

    @contextmanager
    def counting(expected: int) -> Iterator[None]:
        with CaptureQueriesContext(connection) as captured:
            yield
        texts = [query["sql"] for query in captured.captured_queries]
        found = [t for t in texts if STATEMENT.match(t) and "set_config" not in t]
        assert len(found) == expected, "\n".join(found)

    return counting


@pytest.fixture(autouse=True)
def _no_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done besides every so many rows, by their ids, would be counted with statements."""
    monkeypatch.setattr("accounts.idempotency.CLEANUP_INTERVAL", 10**9)
    monkeypatch.setattr("tasks.models.count_deltas.MERGE_EVERY", 10**9)


@pytest.fixture(autouse=True)
def _fast(settings: Any) -> None:
    """Scrypt is slow on purpose (test_login.py restores it), and listing every static file once
    per client costs a third of all the tests.
    """
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.WHITENOISE_AUTOREFRESH = True


# ---- the SQL lint: every statement on tenant data names the tenant of the open scope ------------

STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", re.I)


def tenant_tables() -> re.Pattern[str]:
    names = "|".join(m._meta.db_table for m in apps.get_models() if is_tenant_model(m))
    return re.compile(rf'"({names})"')


def is_numbers(value: Any) -> bool:
    """A column of a bulk INSERT, as PostgreSQL takes it."""
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


@pytest.fixture(autouse=True)
def _sql_lint(request: pytest.FixtureRequest) -> Iterator[None]:
    if not {"db", "transactional_db", "world"} & set(request.fixturenames):
        yield
        return
    for name in ("transactional_db", "db"):  # so that their teardown is behind ours
        if name in request.fixturenames:
            request.getfixturevalue(name)
    tables, found = tenant_tables(), []

    def lint(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        scope = current_unit()
        text = str(sql)
        if scope != ALL_TENANTS and STATEMENT.match(text) and tables.search(text):
            flat = [x for p in (params if many else [params or ()]) for x in p]
            named = scope in flat or [scope] in [list(set(x)) for x in flat if is_numbers(x)]
            if scope is None or "tenant_id" not in text or not named:
                found.append(f"scope {scope}: {text[:300]}")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(lint):
        yield
    without_manager = request.config.pluginmanager.has_plugin("taskflow.tests.without_manager")
    if not (without_manager or request.node.get_closest_marker("raw_sql")):
        assert not found, "statements that do not name their tenant:\n" + "\n".join(found)
