"""The write door: nothing changes without its event, and nothing is recorded that did not change."""

from __future__ import annotations

import dataclasses

import pytest
from django.db import IntegrityError, transaction

from accounts.events.models import Via
from accounts.events.record import change, change_all, create, create_all, remove, remove_all
from accounts.models import Event
from accounts.tenancy import TenantError, inside
from taskflow.errors import Invalid, NotFound
from tasks.models import Priority, Status, Tag, Task


@pytest.fixture
def acme(world):
    with inside(world.acme):
        yield world


def recorded(after=0):
    return list(Event.objects.filter(pk__gt=after).order_by("pk"))


@pytest.fixture
def start(acme):
    return Event.objects.latest("pk").pk


def test_create_writes_row_and_event(acme, start):
    actor = dataclasses.replace(
        acme.ada, via=Via.MCP, request_id="r-1", reason="because", on_behalf_of=acme.bob.user
    )

    tag = create(actor, Tag(name="new", color="#000000"))

    (event,) = recorded(start)
    assert (event.subject_type, event.subject_id, event.verb) == ("tag", tag.pk, "created")
    assert (event.actor_id, event.on_behalf_of_id) == (acme.ada.user.pk, acme.bob.user.pk)
    assert (event.via, event.request_id, event.reason) == ("mcp", "r-1", "because")
    assert event.changes == {"name": [None, "new"], "color": [None, "#000000"]}
    assert event.tenant_id == acme.acme.pk


def test_change_saves_and_records_what_differs(acme, start):
    tag = create(acme.ada, Tag(name="t"))

    change(acme.bob, acme.task, "edited", title="New", priority=Priority.MEDIUM, tags=[tag])

    event = recorded(start)[-1]
    assert (event.verb, event.actor_id, event.project_id) == ("edited", acme.bob.user.pk, acme.apollo.pk)  # fmt: skip
    assert event.changes == {"title": ["Launch", "New"], "tags": [[], [tag.pk]]}
    stored = Task.objects.get(pk=acme.task.pk)
    assert (stored.title, stored.version, acme.task.version) == ("New", 2, 2)


def test_change_writes_nothing_when_nothing_differs(acme, start, assert_statements):
    with assert_statements(1):  # the lock
        change(acme.ada, acme.task, title="Launch")

    assert recorded(start) == []


def test_change_reads_before_from_the_database_not_from_the_row(acme, start):
    stale = Task.objects.get(pk=acme.task.pk)
    change(acme.ada, acme.task, title="Second")

    change(acme.ada, stale, title="Third")

    assert recorded(start)[-1].changes == {"title": ["Second", "Third"]}
    assert stale.version == 3


def test_change_all_costs_one_update_and_one_insert(acme, start, assert_statements):
    create_all(acme.ada, [Task(project=acme.apollo, number=n, title=str(n)) for n in range(2, 22)])
    before = Event.objects.latest("pk").pk

    with assert_statements(3):  # lock, update, events
        count = change_all(acme.ada, Task.objects.all(), "urgent", priority=Priority.HIGH)
    again = change_all(acme.ada, Task.objects.all(), "urgent", priority=Priority.HIGH)

    assert (count, again) == (21, 0)
    assert [e.changes for e in recorded(before)] == [{"priority": ["medium", "high"]}] * 21
    assert set(Task.objects.values_list("version", flat=True)) == {2}


def test_change_all_sets_and_finds_null(acme, start):
    assert change_all(acme.ada, Task.objects.all(), "freed", assignee=None) == 1
    assert change_all(acme.ada, Task.objects.all(), "freed", assignee=None) == 0

    assert recorded(start)[0].changes == {"assignee": [acme.ada.user.pk, None]}


def test_change_all_reaches_no_other_tenant(acme):
    change_all(acme.ada, Task.objects.all(), "renamed", title="ours")

    assert Task.objects.get().title == "ours"
    assert acme.secret_task.title == "Plot"


def test_remove_records_what_the_row_held(acme, start):
    change(acme.ada, acme.task, tags=[create(acme.ada, Tag(name="t"))])

    remove(acme.ada, acme.task)

    event = recorded(start)[-1]
    assert (event.verb, event.changes["title"]) == ("deleted", ["Launch", None])
    assert len(event.changes["tags"][0]) == 1
    assert not Task.objects.exists()


def test_remove_all_costs_the_same_for_many(acme, assert_statements):
    create_all(acme.ada, [Task(project=acme.apollo, number=n, title=str(n)) for n in range(2, 22)])

    # lock; tags; events; what hangs on tasks (2); delete
    with assert_statements(6):
        assert remove_all(acme.ada, Task.objects.all()) == 21


@pytest.mark.parametrize("write", [create, change, remove])
def test_an_exception_leaves_neither_row_nor_event(acme, start, write):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        if write is create:
            create(acme.ada, Tag(name="gone"))
        else:
            write(acme.ada, acme.task, **({"title": "gone"} if write is change else {}))
        raise ZeroDivisionError

    assert recorded(start) == []
    assert Task.objects.get().title == "Launch"
    assert not Tag.objects.exists()


def test_a_constraint_leaves_no_event(acme, start):
    with pytest.raises(IntegrityError), transaction.atomic():
        change(acme.ada, acme.task, status=Status.DONE)  # without completed_at

    assert recorded(start) == []


def test_a_bad_value_is_refused_before_it_is_written(acme, start):
    for values in ({"title": ""}, {"status": "gone"}, {"title": "x" * 501}):
        with pytest.raises(Invalid):
            change(acme.ada, acme.task, **values)

    assert recorded(start) == []


def test_a_row_of_another_tenant_is_a_bug(acme):
    with pytest.raises((TenantError, NotFound)):
        change(acme.ada, acme.secret_task, title="x")
    with pytest.raises(TenantError):
        create(acme.mallory, Tag(name="x"))


def test_secrets_are_not_recorded(acme, start):
    user = acme.bob.user
    user.set_password("a secret 1")

    change(acme.boss, user, password=user.password)

    assert recorded(start)[-1].changes == {"password": ["…", "…"]}


def test_a_row_that_is_gone_is_not_found(acme):
    stale = Task.objects.get()
    remove(acme.ada, acme.task)

    with pytest.raises(NotFound):
        change(acme.ada, stale, title="x")
