"""
The shared fixtures: users and rows of two tenants that must stay separate.

Acme has Boss (its administrator), Ada (owner of Apollo), Carl (admin in it), Bob (member),
Bot (Ada's agent, member) and Eve (in Acme, but in no project). Globex has Mallory, who
administers it and owns its only project.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import django.test.client
import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import idempotency, limits
from accounts.actions.sessions import start_session
from accounts.auth import SESSION_ID
from accounts.models import Tenant, User
from accounts.tests.factories import (
    AdministratorFactory,
    AgentFactory,
    ApiTokenFactory,
    UserFactory,
)
from taskflow.audit import feed
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.db.sqlite.deadline import limit_time
from taskflow.db.types import MAX_ID
from taskflow.http.request import Request
from taskflow.tenancy import inside, is_tenant_model
from taskflow.tenancy.unit import ALL_TENANTS, current_unit
from taskflow.tests.contract import api_contract
from taskflow.tests.mailbox import Mailbox
from taskflow.tests.row_copies import RowCopies, read_rows, rolled_back
from taskflow.tests.sampling import mark_slow
from tasks.models import (
    Project,
    ProjectKey,
    ProjectMember,
    Role,
    Task,
    TaskCountDelta,
    count_deltas,
)
from tasks.tests.factories import MemberFactory, ProjectFactory, TaskFactory

settings.DECLARED_READS_ONLY = True  # see taskflow/audit/guard.py
# Scrypt is slow on purpose; test_login.py sets it again.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.REGISTRATION = True  # in production it is closed
settings.SENDS_MAIL = True  # to a list in memory: see taskflow/tests/mailbox.py

PASSWORD = "correct horse battery"
PROOF = bool(os.environ.get("PROOF"))  # `make prove`: the proofs at full length
API = "/api/v1"
# As taskflow/wsgi.py does for the server. Django's test client has no setting for it.
django.test.client.WSGIRequest = Request  # type: ignore[misc]

pytest_plugins = ["taskflow.tests.contract_report"]


@pytest.hookimpl(tryfirst=True)  # before the option -m selects by these marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_slow(items)


def pytest_collection_finish() -> None:
    """Let the garbage collector skip what is imported, which is most of all objects.

    Importing taskflow.wsgi limits the time of a write transaction, and a test is one transaction.
    """
    limit_time(None)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # by default every 700 new objects are searched


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

    def plan(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Any:
        """The plan of a request, as JSON. Without `body` the request has none."""
        planned = {"method": method.upper(), "path": f"{API}{path}"}
        return self.post("/plans", planned | ({"body": body} if body else {}), **kwargs).json()

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
class Fixtures:
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
    return AdministratorFactory(subdomain=subdomain, handle=boss, password=password)


def person(boss: Actor, handle: str, password: str | None = None) -> Actor:
    """A new user in the tenant of `boss`, as an actor."""
    return Actor(UserFactory(actor=boss, handle=handle, password=password), boss.tenant)


def build_fixtures() -> Fixtures:
    boss = AdministratorFactory(subdomain="acme", handle="boss")
    mallory = AdministratorFactory(subdomain="globex", handle="mallory")
    ada, carl, bob, eve = (person(boss, name) for name in ("ada", "carl", "bob", "eve"))
    agent = AgentFactory(actor=boss, handle="bot", responsible=ada.user)
    bot = Actor(agent, boss.tenant)
    apollo = ProjectFactory(actor=ada, name="Apollo", key="APO")
    MemberFactory(actor=ada, project=apollo, user=carl.user, role=Role.ADMIN)
    MemberFactory(actor=ada, project=apollo, user=bob.user)
    MemberFactory(actor=ada, project=apollo, user=bot.user)
    task = TaskFactory(actor=ada, project=apollo, title="Launch", assignee=ada.user)
    secret = ProjectFactory(actor=mallory, name="Secret", key="SEC")
    return Fixtures(
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
        secret_task=TaskFactory(actor=mallory, project=secret, title="Plot"),
    )


# The tables of these rows, in an order that suits their foreign keys.
TABLES = [User, Event, Project, ProjectKey, ProjectMember, Task, TaskCountDelta]
_copies: list[tuple[bytes, RowCopies]] = []  # made by the first test of a process


@pytest.fixture
def fixtures(db: None, request: pytest.FixtureRequest) -> Fixtures:
    """The shared users and rows, as copies of those that build_fixtures() creates once per process.

    Tests that commit create them anew, since their ids may be in use again after such a test.
    """
    marker = request.node.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction"):
        return build_fixtures()
    if not _copies:
        with rolled_back():
            fixtures = build_fixtures()
            rows = read_rows([fixtures.acme, fixtures.globex], TABLES)
        _copies.append((pickle.dumps(fixtures), RowCopies(rows)))
    pickled, copies = _copies[0]
    copies.insert()
    return pickle.loads(pickled)


@pytest.fixture
def client() -> CheckedClient:
    """Pytest-django's fixture of this name, with responses checked."""
    return CheckedClient()


@pytest.fixture
def as_() -> Any:
    """as_(actor) returns a client with a token of the actor; as_(actor, "read"): of scope read."""

    def client(actor: Actor, scope: str = "admin", **kwargs: Any) -> ApiClient:
        return ApiClient(token_of(actor, scope, **kwargs))

    return client


def token_of(actor: Actor, scope: str = "admin", **kwargs: Any) -> str:
    _token, text = ApiTokenFactory(actor=actor, scope=TokenScope(scope), **kwargs)
    return text


def sign_in_browser(client: Client, user: User) -> None:
    """Sign a browser in without a password. Call it in a unit of work of the user's tenant."""
    client.force_login(user)
    started = start_session(Actor(user, user.tenant), user_agent="")
    stored = client.session
    stored[SESSION_ID] = started.pk
    stored.save()


@pytest.fixture
def browser(fixtures: Fixtures, client: CheckedClient) -> CheckedClient:
    """A browser in which the administrator of Acme is signed in to the admin."""
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)
    return client


def hide_id(answer: object, row_id: int) -> str:
    """The answer as JSON without the id, to compare answers to requests with different ids."""
    return re.sub(rf"\b{row_id}\b", "…", json.dumps(answer, ensure_ascii=False))


@pytest.fixture
def mailbox(settings: Any) -> Mailbox:
    """The mails that the test sends, from https://tasks.example."""
    settings.DOMAIN = "tasks.example"
    settings.ALLOWED_HOSTS = ["*"]
    settings.HTTPS = True
    return Mailbox()


@pytest.fixture
def events() -> Any:
    """events(tenant) returns the events of a tenant so far, oldest first."""

    def read(tenant: Tenant, **filters: Any) -> list[Event]:
        with inside(tenant):
            return list(Event.objects.filter(**filters).order_by("id"))

    return read


@pytest.fixture
def assert_statements() -> Any:
    """`with assert_statements(n):` asserts that the block executes n statements on rows.

    Those that open, bind and close a unit of work are not counted. The budgets of the operations
    of the API stand in taskflow/tests/test_statement_budgets.py.
    """

    @contextmanager
    def counting(expected: int) -> Iterator[None]:
        with CaptureQueriesContext(connection) as captured:
            yield
        texts = [query["sql"] for query in captured.captured_queries]
        counted = [t for t in texts if STATEMENT.match(t) and "set_config" not in t]
        numbered = "\n".join(counted)
        assert len(counted) == expected, f"{len(counted)} statements, not {expected}:\n{numbered}"

    return counting


@pytest.fixture(autouse=True)
def _no_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the occasional cleanup that a request does: its statements would be counted."""
    monkeypatch.setattr(idempotency, "CLEANUP_INTERVAL", 10**9)
    monkeypatch.setattr(limits, "CLEANUP_INTERVAL", 10**9)
    monkeypatch.setattr(count_deltas, "MERGE_EVERY", 10**9)


@pytest.fixture(autouse=True)
def _feed_of_all_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests read their own events at once. The feed of PostgreSQL leaves out those that are
    younger than a transaction that still runs, which may be one of the tests that run beside.
    """
    monkeypatch.setattr(feed, "OLDEST_RUNNING", str(MAX_ID))


# Leaves out only transactions that are known to run in another database of the server.
OLDEST_RUNNING_HERE = """
    SELECT coalesce(min(running::text::bigint),
                    pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    FROM pg_snapshot_xip(pg_current_snapshot()) AS running
    WHERE NOT EXISTS (
        SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'transactionid' AND transactionid::text = running::text
        AND mode = 'ExclusiveLock' AND datname <> current_database()
    )"""


@pytest.fixture
def feed_of_ended_transactions(_feed_of_all_events: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the order of the feed: it waits for the transactions of this database."""
    monkeypatch.setattr(feed, "OLDEST_RUNNING", OLDEST_RUNNING_HERE)


# ---- the SQL lint: every statement on tenant data names the tenant of the open scope ------------

STATEMENT = re.compile(r"[\s(]*(SELECT|INSERT|UPDATE|DELETE|WITH)", re.I)  # a UNION begins with (


@cache
def tenant_tables() -> re.Pattern[str]:
    names = "|".join(m._meta.db_table for m in apps.get_models() if is_tenant_model(m))
    return re.compile(rf'"({names})"')


@lru_cache(maxsize=4096)
def names_tenant_table(sql: str) -> bool:
    return bool(STATEMENT.match(sql) and tenant_tables().search(sql))


@lru_cache(maxsize=4096)
def can_be_shown(sql: str, count: int) -> bool:
    """Return whether Django can show a statement of SQLite with its parameters, as with DEBUG."""
    try:
        return bool(sql % ((None,) * count))
    except (TypeError, ValueError):
        return False


def is_numbers(value: Any) -> bool:
    """A column of a bulk INSERT, as PostgreSQL takes it."""
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


@pytest.fixture(autouse=True)
def _sql_lint(request: pytest.FixtureRequest) -> Iterator[None]:
    if not {"db", "transactional_db", "fixtures"} & set(request.fixturenames):
        yield
        return
    for name in ("transactional_db", "db"):  # so that their teardown is behind ours
        if name in request.fixturenames:
            request.getfixturevalue(name)
    unbound = []

    def lint(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        scope = current_unit()
        text = str(sql)
        if scope != ALL_TENANTS and names_tenant_table(text):
            flat = [x for p in (params if many else [params or ()]) for x in p]
            named = scope in flat or [scope] in [list(set(x)) for x in flat if is_numbers(x)]
            if scope is None or "tenant_id" not in text or not named:
                unbound.append(f"scope {scope}: {text[:300]}")
        if connection.vendor == "sqlite" and params is not None and not many:
            assert can_be_shown(text, len(params)), f"a percent sign is not doubled: {text}"
        return execute(sql, params, many, context)

    with connection.execute_wrapper(lint):
        yield
    without_manager = request.config.pluginmanager.has_plugin("taskflow.tests.without_manager")
    if not (without_manager or request.node.get_closest_marker("raw_sql")):
        assert not unbound, "statements that do not name their tenant:\n" + "\n".join(unbound)
