"""Statements that threads share: each connection prepares a text once."""

from __future__ import annotations

import threading

import pytest
from django.conf import settings
from django.db import connection, transaction

from conftest import ApiClient, build_fixtures, token_of
from taskflow.db.postgresql.session import PostgresSession
from taskflow.db.postgresql.transports import PREPARE_AFTER
from taskflow.db.query import Query, QueryCache
from taskflow.db.statements import Parameter
from taskflow.tenancy import inside, with_tenant_parameter
from taskflow.tenancy.unit import has_roles
from taskflow.tests.test_recorder import at_once
from tasks.models import Task

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite prepares by itself"),
    pytest.mark.skipif(bool(settings.POOLER), reason="nothing is prepared for a pooler"),
]
THREADS = 4


@with_tenant_parameter
def titles():
    return Task.objects.filter(pk=Parameter("pk")).values_list("title")


@with_tenant_parameter
def titles_among(ids):
    return Task.objects.filter(pk__in=ids).values_list("title")


@pytest.fixture
def fixtures():
    return build_fixtures()


def prepare(fixtures, query):
    for _ in range(PREPARE_AFTER + 1):
        assert query.fetch({"pk": fixtures.task.pk}) == [("Launch",)]


def test_statement_with_a_text_that_is_already_prepared_is_not_prepared_again(fixtures):
    """Two threads have compiled the same query, and others have used this one before."""
    with inside(fixtures.acme):
        prepare(fixtures, Query(titles))
        other = Query(titles)
        connection.session._render(other.compiled.statement).uses = PREPARE_AFTER

        assert other.fetch({"pk": fixtures.task.pk}) == [("Launch",)]


def set_type_of_external_ref(column_type):
    with transaction.atomic(), connection.cursor() as cursor:
        if has_roles(connection):
            cursor.execute("SET LOCAL ROLE taskflow_owner")
        cursor.execute(f"ALTER TABLE tasks_task ALTER external_ref TYPE {column_type}")


def test_statement_is_prepared_again_after_a_column_has_changed_its_type(fixtures):
    """PostgreSQL refuses to run a prepared statement whose columns have other types than before."""
    client = ApiClient(token_of(fixtures.ada))
    for _ in range(PREPARE_AFTER + 2):
        assert client.delete("/tasks/APO-1/assignment").status_code == 200

    set_type_of_external_ref("varchar(256)")
    try:
        responses = [client.delete("/tasks/APO-1/assignment") for _ in range(3)]
    finally:
        set_type_of_external_ref("varchar(255)")

    assert [r.status_code for r in responses] == [200, 200, 200]


def test_threads_that_run_one_statement_at_once_prepare_it_once_each(fixtures, monkeypatch):
    shared = Query(titles)
    assert shared.compiled.statement.for_postgresql is None  # compiled, and never run
    barrier = threading.Barrier(THREADS, timeout=10)
    write = PostgresSession._render

    def write_together(self, statement):
        if statement is shared.compiled.statement:
            barrier.wait()
        return write(self, statement)

    monkeypatch.setattr(PostgresSession, "_render", write_together)

    def run():
        with inside(fixtures.acme):
            prepare(fixtures, Query(titles))
            return [shared.fetch({"pk": fixtures.task.pk}) for _ in range(PREPARE_AFTER + 2)]

    assert at_once(*[run] * THREADS) == [[[("Launch",)]] * (PREPARE_AFTER + 2)] * THREADS


def test_threads_that_compile_one_variant_at_once_get_the_same_rows(fixtures):
    """The cache may keep either of two that were compiled at the same time."""
    ids = (fixtures.task.pk, fixtures.task.pk + 1)
    for _ in range(5):
        query = QueryCache(titles_among)

        def run(query=query):
            with inside(fixtures.acme):
                return [query.fetch((), ids) for _ in range(PREPARE_AFTER + 2)]

        assert at_once(*[run] * THREADS) == [[[("Launch",)]] * (PREPARE_AFTER + 2)] * THREADS
