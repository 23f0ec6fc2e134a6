"""Deferred statements and early COMMITs keep the order of statements and lose none."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from django.db import (
    DataError,
    IntegrityError,
    InternalError,
    connection,
    connections,
    transaction,
)
from django.db.transaction import TransactionManagementError

from accounts.models import Tenant
from conftest import ApiClient, build_fixtures, token_of
from taskflow.audit.models import Event
from taskflow.db.query import Query
from taskflow.db.statements import Parameter
from taskflow.db.writes import update
from taskflow.tenancy import allow_early_commit, inside, with_tenant_parameter
from tasks.actions.projects import delete_project
from tasks.api import bulk as bulk_api
from tasks.api import tasks as task_api
from tasks.models import Task

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.isolation,
    pytest.mark.skipif("connection.vendor != 'postgresql'"),
]


@with_tenant_parameter
def all_tasks():
    return Task.objects.all()


@with_tenant_parameter
def title_of():
    return Task.objects.filter(pk=Parameter("pk")).values_list("title")


TITLES = Query(title_of)


@pytest.fixture
def fixtures():
    """The shared fixtures, with the statements used below prepared: others are sent alone."""
    # A connection of other tests may have reached its limit of prepared statements.
    connection.close()
    connection.close_pool()
    fixtures = build_fixtures()
    for _ in range(3):
        with inside(fixtures.acme):
            update(all_tasks, fixtures.task.pk, {"title": "Launch"})
            TITLES.fetch({"pk": fixtures.task.pk})
    return fixtures


def title(fixtures):
    with inside(fixtures.acme):
        return Task.objects.get(pk=fixtures.task.pk).title


@contextmanager
def traced():
    """Collect the messages of the protocol. The list has them, one a line, after the block."""
    pgconn, lines = connection.connection.pgconn, []
    with tempfile.TemporaryFile() as file:
        number = os.dup(file.fileno())  # libpq closes it
        pgconn.trace(number)
        try:
            yield lines
        finally:
            pgconn.untrace()
        file.seek(0)
        lines += file.read().decode(errors="replace").splitlines()


def text() -> str:
    return os.urandom(4).hex()


def add_task(client, fixtures, **values):
    body = {"project_id": fixtures.apollo.pk, "title": "x"} | values
    return client.post("/tasks", body)


def patch(client, fixtures, **values):
    return client.patch("/tasks/APO-1", values)


def patch_in_turn(client, name, *values):
    """Set a field to one of the values that it does not have."""
    present = client.get("/tasks/APO-1").json()[name]
    value = next(v for v in values if v != present)
    return lambda: client.patch("/tasks/APO-1", {name: value})


def patch_tags(client):
    present = [tag["name"] for tag in client.get("/tasks/APO-1").json()["tags"]]
    return lambda: client.patch("/tasks/APO-1", {"tags": ["ui" if present == ["bug"] else "bug"]})


def patch_if_match(client):
    headers = {"If-Match": client.get("/tasks/APO-1").headers["ETag"]}
    return lambda: client.patch("/tasks/APO-1", {"title": text()}, headers=headers)


def add_comment(client, fixtures):
    return client.post("/comments", {"task_id": fixtures.task.pk, "body": "x"})


def complete(client, fixtures):
    pk = add_task(client, fixtures).json()["id"]
    return lambda: client.post(f"/tasks/{pk}/completion")


def claim(client, fixtures):
    add_task(client, fixtures)
    return lambda: client.post("/claims", {"where": {"project": ["APO"]}})


# For each request its round trips, and a function that returns the function that sends it. What
# the first one does is not counted. docs/performance.md has this table.
REQUESTS = {
    "one task": (2, lambda c, w: lambda: c.get("/tasks/APO-1")),
    "a list": (2, lambda c, w: lambda: c.get("/tasks?project=APO&status=todo")),
    "what I can work on": (2, lambda c, w: lambda: c.get("/tasks?assignee=me&ready=true")),
    "an empty list": (3, lambda c, w: lambda: c.get("/tasks?project=APO&status=done")),
    "a search": (5, lambda c, w: lambda: c.get("/search?q=launch")),
    "a new title": (4, lambda c, w: lambda: patch(c, w, title=text())),
    "a new title with If-Match": (6, lambda c, w: patch_if_match(c)),
    "a new status": (4, lambda c, w: patch_in_turn(c, "status", "todo", "in_progress")),
    "a new assignee": (
        6,
        lambda c, w: patch_in_turn(c, "assignee_id", w.ada.user.pk, w.carl.user.pk),
    ),
    "new tags": (6, lambda c, w: patch_tags(c)),
    "completion": (7, complete),
    "a comment": (5, lambda c, w: lambda: add_comment(c, w)),
    "a claim": (8, claim),
    "a new task": (4, lambda c, w: lambda: add_task(c, w)),
    "a new task with an assignee": (
        6,
        lambda c, w: lambda: add_task(c, w, assignee_id=w.ada.user.pk),
    ),
    "a new task for me": (5, lambda c, w: lambda: add_task(c, w, assignee="me")),
    "a new task with tags": (6, lambda c, w: lambda: add_task(c, w, tags=["bug"])),
    "a new task with an Idempotency-Key": (
        8,
        lambda c, w: (
            lambda: c.post(
                "/tasks",
                {"project_id": w.apollo.pk, "title": "x"},
                headers={"Idempotency-Key": text()},
            )
        ),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request_takes_few_round_trips(fixtures, name):
    """Tenant, role and token are sent with the BEGIN, and the COMMIT with the last query."""
    trips, prepare = REQUESTS[name]
    client = ApiClient(token_of(fixtures.bob))  # a member
    for _ in range(4):
        assert prepare(client, fixtures)().status_code < 300
    send = prepare(client, fixtures)

    with traced() as lines:
        assert send().status_code < 300

    ends = [line for line in lines if "ReadyForQuery" in line]
    assert len(ends) == trips
    assert ends[-1].endswith("I")  # idle: nothing is left open


def test_next_statement_sees_the_deferred_ones(fixtures):
    with inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "one"})
        assert TITLES.fetch({"pk": fixtures.task.pk}) == [("one",)]
        update(all_tasks, fixtures.task.pk, {"title": "two"})
        assert Task.objects.get(title="two") == fixtures.task
        update(all_tasks, fixtures.task.pk, {"title": "three"})

    assert title(fixtures) == "three"


def test_query_without_parameters_is_sent_with_deferred_statements(fixtures):
    tenants = Query(lambda: Tenant.objects.order_by("pk").values_list("pk"))
    for number in range(4):
        with inside(fixtures.acme):
            update(all_tasks, fixtures.task.pk, {"title": str(number)})
            assert (fixtures.acme.pk,) in tenants.fetch({})

    assert title(fixtures) == "3"


def test_execute_wrapper_sees_a_statement_when_it_is_deferred(fixtures):
    seen_by_wrapper = []

    def listen(execute, sql, *rest):
        seen_by_wrapper.append(sql)
        return execute(sql, *rest)

    with inside(fixtures.acme):
        with connection.execute_wrapper(listen):
            update(all_tasks, fixtures.task.pk, {"title": "seen"})
        assert [sql.split()[0] for sql in seen_by_wrapper] == ["UPDATE"]
        assert Task.objects.get(title="seen") == fixtures.task
        assert len(seen_by_wrapper) == 1


def test_refusal_of_a_deferred_statement_is_raised_by_the_next_query(fixtures):
    with pytest.raises(IntegrityError), inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "kept?"})
        update(all_tasks, fixtures.task.pk, {"title": ""})
        with pytest.raises(IntegrityError):
            TITLES.fetch({"pk": fixtures.task.pk})
        raise IntegrityError

    assert title(fixtures) == "Launch"


def test_refusal_of_a_deferred_statement_is_raised_at_commit(fixtures):
    with pytest.raises(IntegrityError), inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "kept?"})
        update(all_tasks, fixtures.task.pk, {"title": ""})

    assert title(fixtures) == "Launch"


def test_savepoint_rollback_drops_its_deferred_statements(fixtures):
    with inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "before"})
        with suppress(ZeroDivisionError), transaction.atomic():
            update(all_tasks, fixtures.task.pk, {"title": "in it"})
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            update(all_tasks, fixtures.task.pk, {"title": ""})
            raise ZeroDivisionError
        with pytest.raises(IntegrityError), transaction.atomic():
            update(all_tasks, fixtures.task.pk, {"title": ""})

    assert title(fixtures) == "before"


def test_rollback_drops_deferred_statements(fixtures):
    with pytest.raises(ZeroDivisionError), inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "lost"})
        raise ZeroDivisionError
    with inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "lost too"})
        transaction.set_rollback(True)

    assert connection.session.pending == []
    assert [title(fixtures), title(fixtures)] == ["Launch", "Launch"]


@pytest.mark.parametrize("ask", ["the ORM", "a compiled one"])
def test_statement_after_an_early_commit_runs_in_the_same_tenant(fixtures, ask):
    with inside(fixtures.acme):
        allow_early_commit()
        assert TITLES.fetch({"pk": fixtures.task.pk}, commit_with=True) == [("Launch",)]
        if ask == "the ORM":
            assert Task.objects.get() == fixtures.task
        else:
            assert TITLES.fetch({"pk": fixtures.task.pk}) == [("Launch",)]
        update(all_tasks, fixtures.task.pk, {"title": "later"})

    assert title(fixtures) == "later"
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting('taskflow.tenant', true), '')")
        assert cursor.fetchone() == ("",)


def test_transaction_does_not_end_early_unless_allowed(fixtures):
    with pytest.raises(ZeroDivisionError), inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "lost"})
        TITLES.fetch({"pk": fixtures.task.pk}, commit_with=True)
        raise ZeroDivisionError

    assert title(fixtures) == "Launch"


def test_transaction_that_must_be_rolled_back_is_not_committed_early(fixtures):
    """Django marks the transaction when a block without a savepoint of its own fails."""
    with pytest.raises(TransactionManagementError), inside(fixtures.acme):
        allow_early_commit()
        update(all_tasks, fixtures.task.pk, {"title": "lost"})
        with suppress(ZeroDivisionError), transaction.atomic(savepoint=False):
            raise ZeroDivisionError
        TITLES.fetch({"pk": fixtures.task.pk}, commit_with=True)

    assert title(fixtures) == "Launch"


def test_statement_is_not_deferred_in_a_transaction_that_must_be_rolled_back(fixtures):
    with pytest.raises(TransactionManagementError), inside(fixtures.acme):
        transaction.set_rollback(True)
        update(all_tasks, fixtures.task.pk, {"title": "lost"})

    assert connection.session.pending == []


@pytest.mark.parametrize("ask", ["the ORM", "a compiled one"])
def test_commit_that_rolls_back_raises_an_error(fixtures, ask):
    """After a failed statement, PostgreSQL answers COMMIT with ROLLBACK and without an error."""
    with pytest.raises(InternalError, match="rolled back"), inside(fixtures.acme):
        update(all_tasks, fixtures.task.pk, {"title": "lost"})
        with suppress(DataError):
            if ask == "the ORM":
                list(Task.objects.extra(where=["1/0 = 1"]))
            else:
                update(all_tasks, fixtures.task.pk, {"version": 2**40})
                TITLES.fetch({"pk": fixtures.task.pk})

    assert title(fixtures) == "Launch"


CONDITIONS = {
    "a dry run": ("?dry_run=true", {}, 200),
    "a version of another row": ("", {"If-Match": '"project-1-1"'}, 412),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_request_that_may_be_refused_is_not_committed_early(fixtures, name):
    query, headers, status = CONDITIONS[name]
    client = ApiClient(token_of(fixtures.bob))
    for number in range(4):
        assert client.patch("/tasks/APO-1", {"title": str(number)}).status_code == 200
    with inside(fixtures.acme):
        known = Event.objects.count()

    r = client.patch(f"/tasks/APO-1{query}", {"title": "no"}, headers=headers)

    assert r.status_code == status
    assert title(fixtures) == "3"
    with inside(fixtures.acme):
        assert Event.objects.count() == known


def test_response_is_stored_under_its_idempotency_key_with_the_write(fixtures):
    client = ApiClient(token_of(fixtures.bob))
    body = {"project_id": fixtures.apollo.pk, "title": "once"}
    for number in range(4):
        first = client.post("/tasks", body, headers={"Idempotency-Key": f"k{number}"})

    again = client.post("/tasks", body, headers={"Idempotency-Key": "k3"})

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


@pytest.fixture
def trash_project_before(fixtures, monkeypatch):
    """trash_project_before(module, name) lets another user delete the project before a function is called."""

    def trash():
        with inside(fixtures.acme):
            delete_project(fixtures.ada, fixtures.apollo)
        connections.close_all()

    def prepare(module, name):
        function = getattr(module, name)

        def call(*args, **kwargs):
            with ThreadPoolExecutor() as pool:
                pool.submit(trash).result()
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    return prepare


def test_update_gets_its_response_if_the_project_is_deleted_before_the_commit(
    fixtures, trash_project_before
):
    client = ApiClient(token_of(fixtures.bob))
    for number in range(4):
        client.patch("/tasks/APO-1", {"title": str(number)})
    trash_project_before(task_api, "updated_response")

    r = client.patch("/tasks/APO-1", {"title": "kept"})

    assert (r.status_code, r.json()["title"]) == (200, "kept")
    with inside(fixtures.acme):
        assert Task.everything.get(pk=fixtures.task.pk).title == "kept"


def test_bulk_update_gets_its_response_if_the_project_is_deleted_before_the_commit(
    fixtures, trash_project_before
):
    trash_project_before(bulk_api, "updated_task_texts")
    operation = {"op": "update", "id": "APO-1", "data": {"title": "kept"}}

    r = ApiClient(token_of(fixtures.bob)).post("/tasks/bulk", {"operations": [operation]})

    assert r.json()["results"][0]["task"]["title"] == "kept"
