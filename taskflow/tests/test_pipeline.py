"""What PostgreSQL is sent together: nothing overtakes, nothing is lost, nothing ends too early."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from django.db import IntegrityError, connection, connections, transaction

from accounts.models import Tenant
from conftest import ApiClient, build_world, token_of
from taskflow.audit.models import Event
from taskflow.db.pipeline import session_of
from taskflow.db.query import Compiled
from taskflow.db.statements import Param
from taskflow.db.writes import update
from taskflow.tenancy import in_any_tenant, inside, may_end_with_answer
from tasks.actions.projects import delete_project
from tasks.api import responses as documents
from tasks.models import Task

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.isolation,
    pytest.mark.skipif("connection.vendor != 'postgresql'"),
]


@in_any_tenant
def all_tasks():
    return Task.objects.all()


@in_any_tenant
def title_of():
    return Task.objects.filter(pk=Param("pk")).values_list("title")


TITLES = Compiled(title_of)


@pytest.fixture
def world():
    """With all that is used below prepared, as it travels with others only then."""
    world = build_world()
    for _ in range(3):
        with inside(world.acme):
            update(all_tasks, world.task.pk, {"title": "Launch"})
            TITLES.rows({"pk": world.task.pk})
    return world


def title(world):
    with inside(world.acme):
        return Task.objects.get(pk=world.task.pk).title


@contextmanager
def traced():
    """The protocol's messages, one a line, once the block is over."""
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


REQUESTS = {
    "one task": (2, lambda c, w: c.get("/tasks/APO-1")),
    "a list": (2, lambda c, w: c.get("/tasks?project=APO&status=todo")),
    "an empty list": (3, lambda c, w: c.get("/tasks?project=APO&status=done")),
    "a change": (4, lambda c, w: c.patch("/tasks/APO-1", {"title": os.urandom(4).hex()})),
    "a new task": (5, lambda c, w: c.post("/tasks", {"project_id": w.apollo.pk, "title": "x"})),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_it_takes_few_round_trips(world, name):
    """Tenant, role and token travel with the BEGIN, the COMMIT with the answer."""
    trips, request = REQUESTS[name]
    client = ApiClient(token_of(world.bob))  # a member
    for _ in range(4):
        assert request(client, world).status_code < 300

    with traced() as lines:
        request(client, world)

    ends = [line for line in lines if "ReadyForQuery" in line]
    assert len(ends) == trips
    assert ends[-1].endswith("I")  # idle: nothing is left open


def test_what_is_owed_is_seen_by_whatever_comes_next(world):
    with inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "one"})
        assert TITLES.rows({"pk": world.task.pk}) == [("one",)]
        update(all_tasks, world.task.pk, {"title": "two"})
        assert Task.objects.get(title="two") == world.task
        update(all_tasks, world.task.pk, {"title": "three"})

    assert title(world) == "three"


def test_a_question_without_holes_goes_along_too(world):
    tenants = Compiled(lambda: Tenant.objects.order_by("pk").values_list("pk"))
    for number in range(4):
        with inside(world.acme):
            update(all_tasks, world.task.pk, {"title": str(number)})
            assert (world.acme.pk,) in tenants.rows({})

    assert title(world) == "3"


def test_who_listens_for_a_while_changes_nothing(world):
    heard = []

    def listen(execute, sql, *rest):
        heard.append(sql)
        return execute(sql, *rest)

    with inside(world.acme):
        with connection.execute_wrapper(listen):
            update(all_tasks, world.task.pk, {"title": "heard"})
        assert [sql.split()[0] for sql in heard] == ["UPDATE"]
        assert Task.objects.get(title="heard") == world.task
        assert len(heard) == 1


def test_a_refusal_comes_with_the_next_question(world):
    with pytest.raises(IntegrityError), inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "kept?"})
        update(all_tasks, world.task.pk, {"title": ""})
        with pytest.raises(IntegrityError):
            TITLES.rows({"pk": world.task.pk})
        raise IntegrityError

    assert title(world) == "Launch"


def test_a_refusal_comes_at_the_end_at_the_latest(world):
    with pytest.raises(IntegrityError), inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "kept?"})
        update(all_tasks, world.task.pk, {"title": ""})

    assert title(world) == "Launch"


def test_a_savepoint_takes_back_what_was_owed_in_it(world):
    with inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "before"})
        with suppress(ZeroDivisionError), transaction.atomic():
            update(all_tasks, world.task.pk, {"title": "in it"})
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            update(all_tasks, world.task.pk, {"title": ""})
            raise ZeroDivisionError
        with pytest.raises(IntegrityError), transaction.atomic():
            update(all_tasks, world.task.pk, {"title": ""})

    assert title(world) == "before"


def test_what_is_rolled_back_owes_nothing(world):
    with pytest.raises(ZeroDivisionError), inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "lost"})
        raise ZeroDivisionError
    with inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "lost too"})
        transaction.set_rollback(True)

    assert session_of(connection.connection).owed == []
    assert [title(world), title(world)] == ["Launch", "Launch"]


@pytest.mark.parametrize("ask", ["the ORM", "a compiled one"])
def test_what_follows_the_last_question_is_in_the_tenant_too(world, ask):
    with inside(world.acme):
        may_end_with_answer()
        assert TITLES.rows({"pk": world.task.pk}, last=True) == [("Launch",)]
        if ask == "the ORM":
            assert Task.objects.get() == world.task
        else:
            assert TITLES.rows({"pk": world.task.pk}) == [("Launch",)]
        update(all_tasks, world.task.pk, {"title": "later"})

    assert title(world) == "later"
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting('taskflow.tenant', true), '')")
        assert cursor.fetchone() == ("",)


def test_it_does_not_end_where_nobody_said_so(world):
    with pytest.raises(ZeroDivisionError), inside(world.acme):
        update(all_tasks, world.task.pk, {"title": "lost"})
        TITLES.rows({"pk": world.task.pk}, last=True)
        raise ZeroDivisionError

    assert title(world) == "Launch"


CONDITIONS = {
    "a dry run": ("?dry_run=true", {}, 200),
    "a version of another row": ("", {"If-Match": '"project-1-1"'}, 412),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_may_still_be_taken_back_is_not_ended_early(world, name):
    query, headers, status = CONDITIONS[name]
    client = ApiClient(token_of(world.bob))
    for number in range(4):
        assert client.patch("/tasks/APO-1", {"title": str(number)}).status_code == 200
    with inside(world.acme):
        known = Event.objects.count()

    r = client.patch(f"/tasks/APO-1{query}", {"title": "no"}, headers=headers)

    assert r.status_code == status
    assert title(world) == "3"
    with inside(world.acme):
        assert Event.objects.count() == known


def test_an_answer_is_kept_under_its_key_with_the_write(world):
    client = ApiClient(token_of(world.bob))
    body = {"project_id": world.apollo.pk, "title": "once"}
    for number in range(4):
        first = client.post("/tasks", body, headers={"Idempotency-Key": f"k{number}"})

    again = client.post("/tasks", body, headers={"Idempotency-Key": "k3"})

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


def test_a_change_that_is_kept_is_answered(world, monkeypatch):
    """Others may put its project into the trash between the change and the answer."""
    client = ApiClient(token_of(world.bob))
    changed = documents.changed

    def when_the_project_goes(actor, row):
        with ThreadPoolExecutor() as pool:
            pool.submit(trash).result()
        return changed(actor, row)

    def trash():
        with inside(world.acme):
            delete_project(world.ada, world.apollo)
        connections.close_all()

    for number in range(4):
        client.patch("/tasks/APO-1", {"title": str(number)})
    monkeypatch.setattr("tasks.api.tasks.changed", when_the_project_goes)

    r = client.patch("/tasks/APO-1", {"title": "kept"})

    assert (r.status_code, r.json()["title"]) == (200, "kept")
    with inside(world.acme):
        assert Task.everything.get(pk=world.task.pk).title == "kept"
