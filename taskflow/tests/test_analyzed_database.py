"""A SQLite file that an operator has analyzed, which replaces the statistics of `migrate`.

No list reads a whole tenant for each row, and a server restores the statistics.
"""

from __future__ import annotations

import logging

import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created

from accounts.models import User
from accounts.tests.factories import ApiTokenFactory
from conftest import ApiClient
from taskflow.audit.actor import Actor, TokenScope
from taskflow.db.sqlite import statistics
from taskflow.db.sqlite.statistics import planned_statistics, restore_statistics, write_statistics
from taskflow.tenancy import inside
from taskflow.tests.test_sqlite_plans import FILTERS, OTHERS, SORTS, plans_of
from tasks.seeding import benchmark

pytestmark = [pytest.mark.slow, pytest.mark.skipif("connection.vendor != 'sqlite'")]

LISTS = [
    "/tasks",
    *(f"/tasks?sort={sort}" for sort in SORTS),
    *(f"/tasks?project=PRJA&sort={sort}" for sort in SORTS),
    *(f"/tasks?{query}".replace("APO", "PRJA") for query in FILTERS),
    *(path.replace("APO", "PRJA") for path in OTHERS),
]


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def stored_statistics():
    return sorted(execute("SELECT tbl, idx, stat FROM sqlite_stat1"), key=str)


def planned():
    with connection.cursor() as cursor:
        return sorted(planned_statistics(cursor))


def seed_tenant():
    """Create a tenant of 1,200 tasks. Return clients of its administrator and of a member."""
    tenant, token = benchmark._seed_tenant(0, 1200, lambda _: None)
    with inside(tenant):
        user = User.objects.get(handle="user-1")
        _token, text = ApiTokenFactory(actor=Actor(user, tenant), scope=TokenScope.ADMIN)
    return [ApiClient(token), ApiClient(text)]


@pytest.fixture
def _statistics(db, monkeypatch):
    """Let the seed use this connection, and restore the statistics after the test."""
    monkeypatch.setattr(benchmark.connection, "close", lambda: None)
    yield
    write_statistics(connection)


@pytest.mark.usefixtures("_statistics")
@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "analyze", ["ANALYZE", "PRAGMA optimize=0x10002", "while it is empty"]
)  # fmt: skip
def test_no_list_reads_a_whole_tenant_for_each_row(analyze):
    if analyze == "while it is empty":
        execute("ANALYZE")
    clients = seed_tenant()
    if analyze == "while it is empty":
        restore_statistics(connection)  # as the next connection of a server does
    else:
        execute(analyze)

    for client in clients:
        for path in LISTS:
            for plan in plans_of(client, "get", path):
                assert not plan.whole_tables(), (path, str(plan))
                assert not plan.whole_tenants(for_each_row_only=True), (path, str(plan))
                assert "sort=" not in path or not plan.large_sorts(), (path, str(plan))


@pytest.mark.django_db(transaction=True)
def test_next_connection_of_a_server_restores_the_statistics(monkeypatch, caplog):
    execute("ANALYZE")
    assert stored_statistics() != planned()
    statistics.restore_on_connect()
    try:
        connection.close()
        with caplog.at_level(logging.WARNING):
            execute("SELECT 1")
    finally:
        connection_created.disconnect(dispatch_uid="taskflow.sqlite.statistics")

    assert stored_statistics() == planned()
    assert [r.message for r in caplog.records if r.name == "taskflow.sqlite"] == [
        "ANALYZE had replaced the planner's statistics. They are restored."
    ]


@pytest.mark.django_db(transaction=True)
def test_statistics_that_cannot_be_written_are_only_logged(monkeypatch, caplog):
    def fail(_):
        raise OperationalError("database is locked")

    execute("ANALYZE")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(statistics, "write_statistics", fail)
        restore_statistics(connection)
    write_statistics(connection)

    assert [r.levelname for r in caplog.records if r.name == "taskflow.sqlite"] == ["WARNING"]
