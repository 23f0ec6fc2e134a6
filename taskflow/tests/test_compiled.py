"""A query that is compiled once returns what the ORM returns, whatever the values."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction
from django.db.models import Q

from accounts.models import User
from taskflow.db.postgresql import transports
from taskflow.db.postgresql.transports import TextTransport, choose_transport
from taskflow.db.query import Query, QueryCache
from taskflow.db.statements import IdArray, IsInIds, Parameter
from taskflow.db.writes import increment, insert, insert_rows, update
from taskflow.tenancy import TenantError, inside, with_tenant_parameter
from tasks.models import Project, Task

on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'")


@with_tenant_parameter
def tasks_of(ids):
    return Task.objects.filter(Q(pk__in=ids)).values_list("title")


@with_tenant_parameter
def all_tasks():
    return Task.objects.all()


@with_tenant_parameter
def among(ids):
    return Task.objects.filter(IsInIds("pk", ids)).order_by("pk").values_list("pk")


def test_query_returns_rows_of_the_current_tenant(fixtures):
    query = QueryCache(tasks_of)
    ids = (fixtures.task.pk, fixtures.secret_task.pk)

    with inside(fixtures.acme):
        assert query.fetch((), ids) == [("Launch",)]
    with inside(fixtures.globex):
        assert query.fetch((), ids) == [("Plot",)]


def test_query_outside_a_tenant_is_refused(fixtures):
    query = QueryCache(tasks_of)

    with pytest.raises(TenantError):
        query.fetch((), (fixtures.task.pk,))
    with pytest.raises(TenantError):
        update(all_tasks, fixtures.task.pk, {"title": "x"})


def test_empty_list_of_values_matches_no_rows(fixtures):
    with inside(fixtures.acme):
        assert QueryCache(tasks_of).fetch((), ()) == []
        assert QueryCache(tasks_of).count((), ()) == 0
        assert QueryCache(among).fetch((), IdArray(())) == []


def test_each_number_of_values_is_compiled_once_but_id_arrays_share_one_query(fixtures):
    many, one = QueryCache(tasks_of), QueryCache(among)
    with inside(fixtures.acme):
        for n in range(1, 6):
            ids = tuple(range(fixtures.task.pk, fixtures.task.pk + n))
            assert many.fetch((), ids) == [("Launch",)]
            assert one.fetch((), IdArray(ids)) == [(fixtures.task.pk,)]

    assert many.queries.cache_info().currsize == 5
    assert one.queries.cache_info().currsize == 1


def test_constant_values_of_a_query_are_sent_unchanged(fixtures):
    odd = 'it\'s 100 %s \\ $1 "ü" %'

    @with_tenant_parameter
    def named():
        named_so = Q(title=odd) | Q(number=Parameter("n"), version=Parameter("n"))
        return Task.objects.filter(named_so).order_by("pk").values_list("title")

    query = Query(named)
    with inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": odd})
        for n in (1, 2, 1):
            assert query.fetch({"n": n}) == [(odd,)]
        update(all_tasks, fixtures.task.pk, {"title": "x"})
        assert query.fetch({"n": 2}) == []
        assert query.fetch({"n": fixtures.task.number}) == [("x",)]


def test_fetched_objects_have_their_related_objects_without_further_statements(
    fixtures, assert_statements
):
    @with_tenant_parameter
    def with_people():
        rows = Task.objects.select_related("project", "assignee", "parent")
        return rows.filter(pk=Parameter("pk"))

    query = Query(with_people)
    with inside(fixtures.acme):
        (task,) = query.fetch_objects({"pk": fixtures.task.pk})

        with assert_statements(0):
            assert task == fixtures.task
            assert (task.project.key, task.assignee.handle, task.parent) == ("APO", "ada", None)
            assert task.get_deferred_fields() == set()
            assert (task._state.adding, task.project._state.adding) == (False, False)


def new_task(fixtures, **values):
    return Task(**{"project": fixtures.apollo, "number": 99, "title": "new", **values})


OF_EACH_ROW = {"id", "number", "created_at", "updated_at", "last_activity_at", "external_ref"}
ODD = [
    {"title": "it's \\ %s %(x)s $1 ü🚀", "description": '"\n'},
    {"due_date": datetime(2026, 12, 1, 8, 0, 0, 120000, UTC), "due_on": None},
    {"due_on": date(2199, 12, 31), "metadata": {"a": [1, None, True, {"b": "ü"}]}},
    {
        "status": "done",
        "outcome": "completed",
        "completed_at": datetime(1970, 1, 1, tzinfo=UTC),
        "external_ref": "x",
    },
]


@pytest.mark.parametrize("values", ODD)
def test_insert_and_update_store_the_same_values_as_the_orm(fixtures, values):
    with inside(fixtures.acme):
        one, other = (
            new_task(fixtures, **values),
            new_task(fixtures, number=100, **values | {"external_ref": None}),
        )

        assert insert(one)
        other.save()

        for name in [f.attname for f in Task._meta.concrete_fields]:
            if name not in OF_EACH_ROW:
                stored = (getattr(Task.objects.get(pk=t.pk), name) for t in (one, other))
                assert len({str(value) for value in stored}) == 1, name
        assert one.priority_rank == 2
        changed = {**values, "title": "changed", "external_ref": None}
        update(all_tasks, other.pk, changed)
        stored = Task.objects.get(pk=other.pk)
        assert {n: getattr(stored, n) for n in changed} == changed


@on_postgres
def test_inserting_rows_together_stores_the_same_values_as_the_orm(fixtures):
    with inside(fixtures.acme):
        rows = [new_task(fixtures, number=100 + n, **values) for n, values in enumerate(ODD)]
        rows += [new_task(fixtures, number=200 + n, title=str(n)) for n in range(40)]
        rows[-1].assignee, rows[-1].metadata = fixtures.bob.user, {"ü": None, "a": [1.5, 2**63 - 1]}

        assert insert_rows(rows, "tenant_id")

        stored = Task.objects.in_bulk([row.pk for row in rows])
        for row in rows:
            for field in Task._meta.concrete_fields:
                if field.attname != "search":
                    assert getattr(stored[row.pk], field.attname) == getattr(row, field.attname)
        assert [row.pk for row in rows] == sorted(row.pk for row in rows)


@on_postgres
@pytest.mark.parametrize("values", [{"number": 1}, {"title": ""}, {"title": "a\0b"}])
def test_no_row_is_inserted_when_one_violates_a_constraint(fixtures, values):
    with inside(fixtures.acme):
        rows = [new_task(fixtures, number=100), new_task(fixtures, **values)]
        with pytest.raises((IntegrityError, DataError)), transaction.atomic():
            insert_rows(rows, "tenant_id")

        assert Task.objects.count() == 1


def test_row_with_an_id_is_not_inserted(fixtures):
    with inside(fixtures.acme):
        assert not insert(new_task(fixtures, pk=10**9))
        assert not Task.objects.filter(pk=10**9).exists()


def test_row_that_violates_a_constraint_is_refused(fixtures):
    with inside(fixtures.acme):
        for row in (new_task(fixtures, number=1), new_task(fixtures, title="")):
            with pytest.raises(IntegrityError), transaction.atomic():
                insert(row)


@on_postgres
def test_text_with_nul_is_refused(fixtures):
    with inside(fixtures.acme), pytest.raises(DataError):
        update(all_tasks, fixtures.task.pk, {"title": "a\0b"})


def test_increment_adds_and_returns_the_new_value(fixtures):
    @with_tenant_parameter
    def projects():
        return Project.objects.all()

    with inside(fixtures.acme):
        last = Project.objects.get(pk=fixtures.apollo.pk).last_number

        assert increment(projects, fixtures.apollo.pk, "last_number", 3) == last + 3
        assert Project.objects.get(pk=fixtures.apollo.pk).last_number == last + 3
        assert increment(projects, fixtures.secret.pk, "last_number", 1) is None


@pytest.fixture
def nothing_prepared(fixtures):
    """A connection without prepared statements. After other tests it may have its maximum."""
    connection.session.transport = transport = TextTransport(connection.connection)
    connection.cursor().execute("DEALLOCATE ALL")
    transport.prepared.names.clear()
    yield
    connection.session.use_connection(connection.connection)


@on_postgres
@pytest.mark.parametrize(("pooler", "prepared"), [(False, True), (True, False), ("prepared", True)])
def test_statement_is_prepared_by_name_unless_a_pooler_cannot(
    fixtures, settings, nothing_prepared, pooler, prepared
):
    settings.POOLER = pooler
    connection.session.transport = choose_transport(connection.connection)
    query = QueryCache(tasks_of)
    others = range(10**6, 10**6 + 5 + prepared)
    with inside(fixtures.acme):
        for _ in range(4):
            assert query.fetch((), (fixtures.task.pk, *others)) == [("Launch",)]
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'tf_%'")
            prepared_texts = [statement for (statement,) in cursor.fetchall()]
        text = query.queries(
            (), ((int,) * (len(others) + 1),)
        ).compiled.statement.for_postgresql.text
        assert (text.decode() in prepared_texts) == prepared


@on_postgres
def test_oldest_prepared_statement_is_deallocated_for_a_new_one(
    fixtures, nothing_prepared, monkeypatch
):
    monkeypatch.setattr(transports, "MAX_PREPARED", 2)
    queries = [QueryCache(tasks_of) for _ in range(3)]
    names = []
    with inside(fixtures.acme):
        for number, query in enumerate(queries):
            ids = (fixtures.task.pk, *range(10**6, 10**6 + 10 + number))
            for _ in range(2):
                assert query.fetch((), ids) == [("Launch",)]
            names.append(set(connection.session.transport.prepared.names))
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'tf_%'")
            on_server = {name.encode() for (name,) in cursor.fetchall()}

        assert query.fetch((), (fixtures.task.pk, *range(10**6, 10**6 + 10))) == [("Launch",)]

    assert len(names[1]) == len(names[2]) == 2
    assert names[1] != names[2]
    assert on_server == names[2]


@on_postgres
def test_statement_that_the_server_has_deallocated_is_prepared_again(fixtures, nothing_prepared):
    query = QueryCache(tasks_of)
    ids = (fixtures.task.pk, 10**6)
    with inside(fixtures.acme):
        for _ in range(3):
            query.fetch((), ids)
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")

        with pytest.raises(ProgrammingError), transaction.atomic():
            query.fetch((), ids)
        assert query.fetch((), ids) == [("Launch",)]


def test_fetched_users_have_all_their_fields(fixtures):
    @with_tenant_parameter
    def users():
        return User.objects.filter(pk=Parameter("pk"))

    with inside(fixtures.acme):
        (user,) = Query(users).fetch_objects({"pk": fixtures.ada.user.pk})

        assert user.get_deferred_fields() == set()
        assert user.created_at == User.objects.get(pk=user.pk).created_at
