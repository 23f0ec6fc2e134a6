"""The recorder: every change has its event, and every event has a change."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import ApiToken, User
from conftest import build_fixtures, person, token_of
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event, Via
from taskflow.audit.recorder import change, change_all, create, create_all, lock, remove, remove_all
from taskflow.http.errors import Invalid, NotFound
from taskflow.tenancy import TenantError, inside
from taskflow.tests.concurrency import at_once
from tasks.models import (
    Priority,
    Project,
    ProjectMember,
    Status,
    Tag,
    Task,
    TaskCountDelta,
    TaskTag,
)


@pytest.fixture
def acme(fixtures):
    with inside(fixtures.acme):
        yield fixtures


def recorded(after=0):
    return list(Event.objects.filter(pk__gt=after).order_by("pk"))


@pytest.fixture
def start(acme):
    return Event.objects.latest("pk").pk


@pytest.fixture
def full(acme):
    """An actor with every attribute that an event can record."""
    return dataclasses.replace(
        acme.ada, via=Via.MCP, request_id="r-1", reason="because", on_behalf_of=acme.bob.user
    )


def assert_by(event, fixtures):
    """Assert that the event was recorded for the actor `full`."""
    assert (event.tenant_id, event.actor_id) == (fixtures.acme.pk, fixtures.ada.user.pk)
    assert (event.on_behalf_of_id, event.operator_id) == (fixtures.bob.user.pk, None)
    assert (event.via, event.request_id, event.reason) == ("mcp", "r-1", "because")


# ---- each function, once ------------------------------------------------------------------------


def test_every_write_records_actor_request_and_reason(acme, full, start):
    tag = create(full, Tag(name="new", color="#000000"))
    change(full, acme.task, "edited", title="y")
    change_all(full, Task.objects.all(), "urgent", priority=Priority.HIGH)
    remove(full, tag)
    remove_all(full, Task.objects.all())

    events = recorded(start)
    assert [(e.subject_type, e.verb, e.subject_id, e.project_id) for e in events] == [
        ("tag", "created", tag.pk, None),
        ("task", "edited", acme.task.pk, acme.apollo.pk),
        ("task", "urgent", acme.task.pk, acme.apollo.pk),
        ("tag", "deleted", tag.pk, None),
        ("task", "deleted", acme.task.pk, acme.apollo.pk),
    ]
    for event in events:
        assert_by(event, acme)


def test_event_of_an_operator_has_operator_id_instead_of_actor(acme, start):
    operator = Actor(acme.mallory.user, acme.acme, via=Via.ADMIN)

    create(operator, Tag(name="x"))

    (event,) = recorded(start)
    assert (event.actor_id, event.operator_id) == (None, acme.mallory.user.pk)


def test_event_contains_the_project_of_the_row(acme, start):
    project = create(acme.ada, Project(key="NEW", name="New", owner=acme.ada.user))
    create(acme.ada, ProjectMember(project=project, user=acme.ada.user))
    create(acme.ada, Task(project=project, number=1, title="x"))
    create(acme.ada, Tag(name="x"))

    assert [e.project_id for e in recorded(start)] == [project.pk, project.pk, project.pk, None]


def test_create_records_all_values_that_are_not_empty(acme, start):
    tag = create(acme.ada, Tag(name="t"))
    task = create(
        acme.ada,
        Task(
            project=acme.apollo,
            number=7,
            title="x",
            assignee=acme.bob.user,
            due_on=date(2026, 12, 1),
            metadata={"a": [1]},
        ),
        tags=[tag],
    )

    event = recorded(start)[-1]
    assert event.changes == {
        "project": [None, acme.apollo.pk],
        "number": [None, 7],
        "title": [None, "x"],
        "status": [None, "todo"],
        "priority": [None, "medium"],
        "assignee": [None, acme.bob.user.pk],
        "due_on": [None, "2026-12-01"],
        "metadata": [None, {"a": [1]}],
        "tags": [[], [tag.pk]],
    }
    assert (task.version, list(task.tags.all())) == (1, [tag])


def test_create_all_costs_three_statements(acme, start, assert_statements):
    rows = [Task(project=acme.apollo, number=n, title=str(n)) for n in range(2, 32)]

    with assert_statements(3):
        create_all(acme.ada, rows)
    with assert_statements(0):
        create_all(acme.ada, [])

    assert [e.subject_id for e in recorded(start)] == [row.pk for row in rows]
    assert [e.changes["title"][1] for e in recorded(start)] == [row.title for row in rows]


def test_change_saves_and_records_what_differs(acme, start):
    tag = create(acme.ada, Tag(name="t"))

    change(acme.bob, acme.task, "edited", title="New", priority=Priority.MEDIUM, tags=[tag])

    event = recorded(start)[-1]
    assert (event.verb, event.actor_id, event.project_id) == ("edited", acme.bob.user.pk, acme.apollo.pk)  # fmt: skip
    assert event.changes == {"title": ["Launch", "New"], "tags": [[], [tag.pk]]}
    stored = Task.objects.get(pk=acme.task.pk)
    assert (stored.title, stored.version, acme.task.version) == ("New", 2, 2)


def test_change_adds_and_removes_links(acme, start):
    one, two, three = (create(acme.ada, Tag(name=n)) for n in ("1", "2", "3"))
    change(acme.ada, acme.task, tags=[two, one])
    change(acme.ada, acme.task, tags=[three, two])
    change(acme.ada, acme.task, tags=[two, three])  # the same in another order
    change(acme.ada, acme.task, tags=[])

    changes = [e.changes for e in recorded(start) if e.subject_type == "task"]
    assert changes == [
        {"tags": [[], [one.pk, two.pk]]},
        {"tags": [[one.pk, two.pk], [two.pk, three.pk]]},
        {"tags": [[two.pk, three.pk], []]},
    ]
    assert not TaskTag.objects.exists()
    assert Task.objects.get().version == 4


def test_change_records_values_as_json(acme, start):
    due_date = datetime(2026, 12, 1, 8, tzinfo=UTC)

    change(acme.ada, acme.task, assignee=acme.bob.user, due_date=due_date, metadata={"a": None})

    assert recorded(start)[-1].changes == {
        "assignee": [acme.ada.user.pk, acme.bob.user.pk],
        "due_date": [None, "2026-12-01T08:00:00+00:00"],
        "metadata": [{}, {"a": None}],
    }


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ({"a": 1}, {"a": True}, True),
        ({"a": [0, {"b": False}]}, {"a": [0, {"b": 0}]}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, True),
        ({"a": [1]}, {"a": [1, 1]}, True),
        ({"a": None}, {}, True),
        ({"a": {}}, {"a": []}, True),
        ({"a": "1"}, {"a": 1}, True),
    ],
)
def test_change_compares_as_json_does(acme, start, before, after, differs):
    change(acme.ada, acme.task, metadata=before)

    change(acme.ada, acme.task, metadata=after)

    assert len(recorded(start)) == 1 + differs
    assert acme.task.version == 2 + differs


def test_change_updates_the_time_and_no_other_column(acme):
    stale = Task.objects.get()
    stale.title = "never saved"
    before = stale.updated_at

    change(acme.ada, stale, priority=Priority.LOW)

    stored = Task.objects.get()
    assert (stored.title, stored.priority) == ("Launch", "low")
    assert stored.updated_at == stale.updated_at > before


def test_change_writes_nothing_when_nothing_differs(acme, start, assert_statements):
    with assert_statements(1):  # the lock
        change(acme.ada, acme.task, title="Launch")

    assert recorded(start) == []


def test_change_records_the_stored_value_as_before(acme, start):
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


def test_change_all_records_only_what_differs_in_each_row(acme, start):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    done = {"status": Status.DONE, "outcome": "completed", "completed_at": at}
    create_all(
        acme.ada,
        [
            Task(project=acme.apollo, number=2, title="a", priority=Priority.HIGH),
            Task(project=acme.apollo, number=3, title="b", priority=Priority.HIGH, **done),
        ],
    )
    before = Event.objects.latest("pk").pk

    count = change_all(acme.ada, Task.objects.all(), "rush", priority=Priority.HIGH, **done)

    assert count == 2
    assert [sorted(e.changes) for e in recorded(before)] == [
        ["completed_at", "outcome", "priority", "status"],
        ["completed_at", "outcome", "status"],
    ]
    assert list(Task.objects.order_by("pk").values_list("version", flat=True)) == [2, 2, 1]


def test_change_all_sets_null_and_compares_with_null(acme, start):
    assert change_all(acme.ada, Task.objects.all(), "freed", assignee=None) == 1
    assert change_all(acme.ada, Task.objects.all(), "freed", assignee=None) == 0

    assert recorded(start)[0].changes == {"assignee": [acme.ada.user.pk, None]}


def test_change_all_does_not_change_rows_of_other_tenants(acme):
    change_all(acme.ada, Task.objects.all(), "renamed", title="ours")

    assert Task.objects.get().title == "ours"
    assert acme.secret_task.title == "Plot"


def test_remove_records_the_values_of_the_row(acme, start):
    change(acme.ada, acme.task, tags=[create(acme.ada, Tag(name="t"))])

    remove(acme.ada, acme.task)

    event = recorded(start)[-1]
    assert (event.verb, event.changes["title"]) == ("deleted", ["Launch", None])
    assert len(event.changes["tags"][0]) == 1
    assert not Task.objects.exists()


def test_remove_all_costs_the_same_for_many(acme, assert_statements):
    create_all(acme.ada, [Task(project=acme.apollo, number=n, title=str(n)) for n in range(2, 22)])

    # lock; tags and blockers, from both ends; events; counts; rows that reference tasks (3); delete
    with assert_statements(10):
        assert remove_all(acme.ada, Task.objects.all()) == 21


def test_removing_a_row_that_was_already_removed_records_nothing(acme, start):
    stale = Task.objects.get()
    remove(acme.ada, acme.task)

    remove(acme.ada, stale)

    assert len(recorded(start)) == 1


def test_removing_a_referenced_row_is_refused_and_records_nothing(acme, start):
    with pytest.raises(ProtectedError):
        remove(acme.boss, acme.ada.user)

    assert recorded(start) == []
    assert User.objects.filter(pk=acme.ada.user.pk).exists()


WRITES = {
    "create": lambda w: create(w.ada, Tag(name="gone")),
    "create_all": lambda w: create_all(w.ada, [Tag(name="gone"), Tag(name="also")]),
    "change": lambda w: change(w.ada, w.task, title="gone"),
    "change_all": lambda w: change_all(w.ada, Task.objects.all(), "x", title="gone"),
    "remove": lambda w: remove(w.ada, w.task),
    "remove_all": lambda w: remove_all(w.ada, Task.objects.all()),
}


# ---- all or nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITES)
def test_exception_rolls_back_row_and_event(fixtures, events, name):
    before = len(events(fixtures.acme))

    with pytest.raises(ZeroDivisionError), inside(fixtures.acme):
        WRITES[name](fixtures)
        assert len(Event.objects.all()) > before
        raise ZeroDivisionError

    assert len(events(fixtures.acme)) == before
    with inside(fixtures.acme):
        assert Task.objects.get().title == "Launch"
        assert not Tag.objects.exists()


@pytest.mark.parametrize("name", WRITES)
def test_write_whose_event_cannot_be_stored_is_rolled_back(fixtures, monkeypatch, name):
    def refuse(*args, **kwargs):
        raise IntegrityError("the log is full")

    for way in ("bulk_create", "defer_insert"):
        monkeypatch.setattr(type(Event.objects), way, refuse, raising=False)

    with pytest.raises(IntegrityError), inside(fixtures.acme):
        WRITES[name](fixtures)

    monkeypatch.undo()
    with inside(fixtures.acme):
        assert Task.objects.get().title == "Launch"
        assert not Tag.objects.exists()


def test_violated_constraint_rolls_back_the_event(acme, start):
    with pytest.raises(IntegrityError), transaction.atomic():
        change(acme.ada, acme.task, status=Status.DONE)  # without completed_at

    assert recorded(start) == []


def test_changing_to_an_invalid_value_is_refused_and_records_nothing(acme, start):
    for values in ({"title": ""}, {"status": "gone"}, {"title": "x" * 501}):
        with pytest.raises(Invalid):
            change(acme.ada, acme.task, **values)

    assert recorded(start) == []


# ---- tenant isolation -----------------------------------------------------------------------------------

WRITES_OF_OTHER_TENANTS = {
    "change": lambda w: change(w.ada, w.secret_task, title="x"),
    "remove": lambda w: remove(w.ada, w.secret_task),
    "an actor of another tenant creates": lambda w: create(w.mallory, Tag(name="x")),
    "an actor of another tenant changes": lambda w: change(w.mallory, w.task, title="x"),
    "an actor of another tenant changes all": lambda w: change_all(
        w.mallory, Task.objects.all(), "x", title="x"
    ),
    "an actor of another tenant removes": lambda w: remove(w.mallory, w.task),
    "an actor of another tenant removes all": lambda w: remove_all(w.mallory, Task.objects.all()),
}


def test_deferred_row_of_another_tenant_raises_tenant_error(fixtures):
    values = {"tenant_id": fixtures.globex.pk, "project_id": 1}

    with pytest.raises(TenantError), inside(fixtures.acme):
        TaskCountDelta.objects.defer_insert(values)


@pytest.mark.parametrize("name", WRITES_OF_OTHER_TENANTS)
def test_writing_a_row_of_another_tenant_raises_tenant_error_and_records_nothing(
    fixtures, events, name
):
    before = len(events(fixtures.acme)), len(events(fixtures.globex))

    with pytest.raises(TenantError), inside(fixtures.acme):
        WRITES_OF_OTHER_TENANTS[name](fixtures)

    assert (len(events(fixtures.acme)), len(events(fixtures.globex))) == before
    for tenant, title in ((fixtures.acme, "Launch"), (fixtures.globex, "Plot")):
        with inside(tenant):
            assert Task.objects.get().title == title


@pytest.mark.parametrize("name", WRITES)
def test_writing_outside_a_unit_of_work_raises_tenant_error(fixtures, name):
    with pytest.raises(TenantError):
        WRITES[name](fixtures)


# ---- secrets ------------------------------------------------------------------------------------


def test_secrets_are_not_recorded(acme, start):
    user = acme.bob.user
    user.set_password("a secret 1")

    change(acme.boss, user, password=user.password)

    assert recorded(start)[-1].changes == {"password": ["…", "…"]}


def test_events_contain_no_secret(fixtures, events):
    text = token_of(fixtures.ada)
    with inside(fixtures.acme):
        eve = person(fixtures.boss, "secretive", password="correct horse battery").user
        change(fixtures.boss, eve, password="canary")
        token = ApiToken.objects.latest("pk")
        secrets = ["canary", "md5$", token.digest, text]
        remove(fixtures.ada, token)
        remove(fixtures.boss, eve)

    log = repr([e.changes for e in events(fixtures.acme)])
    assert "secretive" in log
    for secret in secrets:
        assert secret not in log


# ---- at the same time ---------------------------------------------------------------------------


def test_changing_or_locking_a_removed_row_raises_not_found(acme):
    stale = Task.objects.get()
    remove(acme.ada, acme.task)

    with pytest.raises(NotFound):
        change(acme.ada, stale, title="x")

    with pytest.raises(NotFound):
        lock(stale)


def test_lock_refreshes_the_fields(acme, start):
    stale = Task.objects.get()
    change(acme.ada, acme.task, status=Status.IN_PROGRESS, assignee=acme.bob.user)

    lock(stale, "status", "assignee")

    assert (stale.status, stale.assignee, stale.version) == ("in_progress", acme.bob.user, 2)
    assert len(recorded(start)) == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_changes_have_consecutive_versions_and_exact_values_before():
    live = build_fixtures()

    def rename(thread):
        def work():
            for number in range(8):
                with inside(live.acme):
                    change(live.ada, Task.objects.get(), title=f"{thread}-{number}")

        return work

    assert at_once(*map(rename, range(4))) == [None] * 4

    with inside(live.acme):
        assert Task.objects.get().version == 33
        renamed = Event.objects.filter(subject_type="task", verb="changed").order_by("id")
        titles = [e.changes["title"] for e in renamed]
    assert [before for before, _ in titles] == ["Launch", *(after for _, after in titles[:-1])]


@pytest.mark.django_db(transaction=True)
def test_set_changed_by_several_at_once_records_each_row_once():
    live = build_fixtures()
    with inside(live.acme):
        create_all(
            live.ada, [Task(project=live.apollo, number=n, title=str(n)) for n in range(2, 12)]
        )

    def raise_all():
        with inside(live.acme):
            return change_all(live.ada, Task.objects.all(), "urgent", priority=Priority.HIGH)

    counts = at_once(*[raise_all] * 4)

    assert sorted(counts) == [0, 0, 0, 11]
    with inside(live.acme):
        assert Event.objects.filter(verb="urgent").count() == 11
        assert set(Task.objects.values_list("version", flat=True)) == {2}


@pytest.mark.django_db(transaction=True)
def test_row_removed_by_several_at_once_is_recorded_once():
    live = build_fixtures()

    def remove_it():
        with inside(live.acme):
            remove(live.ada, live.task)

    assert at_once(*[remove_it] * 4) == [None] * 4
    with inside(live.acme):
        assert Event.objects.filter(subject_type="task", verb="deleted").count() == 1
