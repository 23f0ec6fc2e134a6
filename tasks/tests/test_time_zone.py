"""The time zone of the tenant decides when a day begins and ends."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Tenant
from conftest import PASSWORD, new_tenant
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.tasks import create_task
from tasks.models import Task
from tasks.tests.test_admin import address, form_of, sign_in

pytestmark = pytest.mark.one_database

# From UTC-11 to UTC+12, some with summer time.
ZONES = [
    "Pacific/Pago_Pago", "America/Los_Angeles", "America/Havana", "America/St_Johns", "UTC",
    "Europe/Berlin", "Africa/Cairo", "Asia/Kolkata", "Asia/Tokyo", "Australia/Lord_Howe",
    "Pacific/Fiji",
]  # fmt: skip
CLOCK_CHANGES = [
    datetime(*day, 1, tzinfo=UTC)
    for day in [(2026, 3, 8), (2026, 3, 29), (2026, 4, 24), (2026, 10, 25), (2026, 11, 1)]
]


def at(text):
    return datetime.fromisoformat(text).astimezone(UTC)


# ---- days ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("UTC", "2026-12-02", "2026-12-02T00:00Z", 24),
        ("Europe/Berlin", "2026-12-02", "2026-12-01T23:00Z", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00Z", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00Z", 25),
        ("America/Los_Angeles", "2026-11-01", "2026-11-01T07:00Z", 25),
        ("Asia/Kolkata", "2026-12-02", "2026-12-01T18:30Z", 24),
        ("Pacific/Kiritimati", "2026-12-02", "2026-12-01T10:00Z", 24),
        # Midnight is skipped: the clock goes from 23:59:59 to 01:00.
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00Z", 23),
        # Midnight comes twice: the clock goes from 00:59:59 back to 00:00.
        ("America/Havana", "2026-11-01", "2026-11-01T04:00Z", 25),
    ],
)
def test_day_has_the_hours_of_the_zone(zone, day, start, hours):
    tenant, day = Tenant(time_zone=zone), date.fromisoformat(day)
    first, last = tenant.start_of(day), tenant.end_of(day)

    assert first == at(start)
    assert last - first == timedelta(hours=hours, microseconds=-1)
    assert tenant.day_of(first) == tenant.day_of(last) == day
    assert tenant.day_of(first - timedelta(microseconds=1)) == day - timedelta(days=1)


# ---- filters ------------------------------------------------------------------------------------


@pytest.fixture
def berlin(fixtures):
    Tenant.objects.filter(pk=fixtures.acme.pk).update(time_zone="Europe/Berlin")
    return fixtures


def titles(client, query):
    return " ".join(sorted(row["title"] for row in client.get(f"/tasks?{query}").json()["data"]))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # The 25th of October has 25 hours in Berlin: from 22:00 UTC of the 24th to 23:00 UTC.
        ("due_before=2026-10-25", "before"),
        ("due_before=2026-10-26", "before day first last"),
        ("due_after=2026-10-24", "after day first last"),
        ("due_after=2026-10-25", "after"),
        ("due_before=2026-10-25T22:59:59Z", "before first"),
        ("due_before=2026-10-25T23:00:00Z", "before day first last"),
        ("due_after=2026-10-24T21:59:59Z", "after day first last"),
        ("due_after=2026-10-24T22:00:00Z", "after last"),
    ],
)
def test_filter_by_due_day_follows_the_zone(berlin, as_, query, expected):
    due = {
        "before": "2026-10-24T21:59:59Z", "first": "2026-10-24T22:00:00Z",
        "last": "2026-10-25T22:59:59.5Z", "after": "2026-10-25T23:00:00Z",
    }  # fmt: skip
    with inside(berlin.acme):
        for title, timestamp in due.items():
            create_task(berlin.ada, berlin.apollo, title=title, due_date=at(timestamp))
        create_task(berlin.ada, berlin.apollo, title="day", due_on=date(2026, 10, 25))

    assert titles(as_(berlin.ada), query) == expected


@pytest.mark.parametrize("name", ["created", "updated", "completed"])
def test_filters_by_day_follow_the_zone(berlin, as_, name):
    client = as_(berlin.ada)
    for title, timestamp in {
        "before": "2026-03-28T22:59:59Z", "first": "2026-03-28T23:00:00Z",
        "last": "2026-03-29T21:59:59Z", "after": "2026-03-29T22:00:00Z",
    }.items():  # fmt: skip
        with time_machine.travel(at(timestamp), tick=False), inside(berlin.acme):
            create_task(berlin.ada, berlin.apollo, title=title, status="done")

    query = f"{name}_before=2026-03-30&{name}_after=2026-03-28"

    assert titles(client, query) == "first last"
    assert titles(client, f"{name}_before=2026-03-29") == "before"


def test_where_of_a_bulk_request_follows_the_zone(berlin, as_):
    with inside(berlin.acme):
        due = at("2026-12-01T23:00:00Z")  # the 2nd of December in Berlin
        create_task(berlin.ada, berlin.apollo, title="x", due_date=due)
    operation = {"op": "tag", "where": {"due_after": "2026-12-01"}, "data": {"tags": ["late"]}}

    r = as_(berlin.ada).post("/tasks/bulk", {"operations": [operation]})

    assert r.json()["succeeded"] == 1


# ---- the admin ----------------------------------------------------------------------------------


@pytest.fixture
def new_york(db):
    """Root is the administrator of a tenant in New York, and the only user."""
    root = new_tenant("acme", "root", PASSWORD)
    Tenant.objects.filter(pk=root.tenant.pk).update(time_zone="America/New_York")
    return root


@pytest.fixture
def task(new_york):
    with inside(new_york.tenant):
        project = create_project(new_york, name="Apollo", key="APO")
        return create_task(new_york, project, title="x", due_date=at("2026-12-01T14:30:00Z"))


def stored_due(root):
    with inside(root.tenant):
        return Task.objects.get().due_date


def test_admin_shows_times_in_the_zone_and_names_it(task):
    client = sign_in("root@acme.example")

    assert "2026-12-01 09:30 EST" in client.get(address(Task, "list")).content.decode()
    form = client.get(address(Task, "change", task.pk)).content.decode()
    assert 'value="09:30"' in form
    assert "Time zone: America/New_York." in form
    undo = client.get("/admin/audit/event/undo/").content.decode()
    assert "since (America/New_York)" in undo


def test_admin_reads_times_in_the_zone(new_york, task):
    client = sign_in("root@acme.example")
    page = address(Task, "change", task.pk)
    data = form_of(client.get(page))

    client.post(page, data | {"due_at_0": "2026-07-01", "due_at_1": "08:00"})

    assert stored_due(new_york) == at("2026-07-01T12:00:00Z")
    events = client.get(address(Task, "history", task.pk), follow=True).content.decode()
    assert "2026-07-01 08:00" in events


def test_saving_a_form_with_a_time_unchanged_changes_nothing(new_york, task):
    client = sign_in("root@acme.example")
    page = address(Task, "change", task.pk)

    shown = {"due_at_0": "2026-12-01", "due_at_1": "09:30:00"}
    r = client.post(page, form_of(client.get(page)) | shown)

    assert r.status_code == 302, r.context["errors"]
    with inside(new_york.tenant):
        assert Task.objects.get().version == 1


@pytest.mark.parametrize("clock", ["2026-03-08 02:30", "2026-11-01 01:30"])
def test_clock_time_that_is_skipped_or_comes_twice_is_refused(new_york, task, clock):
    client = sign_in("root@acme.example")
    page = address(Task, "change", task.pk)
    day, time = clock.split()

    r = client.post(page, form_of(client.get(page)) | {"due_at_0": day, "due_at_1": time})

    assert "America/New_York has no such time on that day, or has it twice" in r.content.decode()
    assert stored_due(new_york) == at("2026-12-01T14:30:00Z")


@pytest.mark.parametrize(
    ("now", "overdue"), [("2026-12-02T04:59:59Z", 0), ("2026-12-02T05:00:00Z", 1)]
)
def test_task_that_is_due_on_a_day_is_overdue_after_the_day_of_the_tenant(new_york, now, overdue):
    with inside(new_york.tenant):
        project = create_project(new_york, name="Apollo", key="APO")
        create_task(new_york, project, title="x", due_on=date(2026, 12, 1), assignee=new_york.user)

    with time_machine.travel(at(now)):
        sections = sign_in("root@acme.example").get("/admin/").context["sections"]

    assert [s.count for s in sections if s.name == "overdue"] == [overdue]


# ---- sort=due -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("sort", ["due", "-due"])
@given(data=st.data())
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_days_and_times_are_in_the_order_of_the_days_of_the_tenant(fixtures, as_, sort, data):
    zone = data.draw(st.sampled_from(ZONES))
    base = data.draw(st.sampled_from(CLOCK_CHANGES))
    hours = st.integers(-72 * 4, 72 * 4).map(lambda n: timedelta(hours=n / 4))
    due = data.draw(
        st.lists(
            st.one_of(
                st.integers(-3, 3).map(lambda n: {"due_on": base.date() + timedelta(days=n)}),
                hours.map(lambda step: {"due_date": base + step}),
                st.just({}),
            ),
            min_size=2,
            max_size=12,
        )
    )
    Tenant.objects.filter(pk=fixtures.acme.pk).update(time_zone=zone)
    tenant = Tenant.objects.get(pk=fixtures.acme.pk)
    with inside(tenant), savepoint_that_is_rolled_back():
        Task.objects.update(due_date=None, due_on=None)
        create_tasks(fixtures.ada, [CreateTask(fixtures.apollo, "x", values) for values in due])
        path = f"/tasks?project=APO&limit=5&sort={sort}"
        listed = [day_of_task(tenant, task) for task in walk(as_(fixtures.ada), path)]

    dated = [day for day in listed if day is not None]
    assert dated == sorted(dated, reverse=sort.startswith("-"))
    assert listed == dated + [None] * (len(listed) - len(dated))
    assert len(listed) == len(due) + 1


def day_of_task(tenant, task):
    """Return the tenant's day on which the task is due, or None."""
    if task["due_date"]:
        return tenant.day_of(at(task["due_date"]))
    return task["due_on"] and date.fromisoformat(task["due_on"])


def walk(client, path):
    """Yield the rows of all pages, each requested with the cursor of the previous page."""
    page = client.get(path).json()
    yield from page["data"]
    while page["has_more"]:
        page = client.get(f"{path}&cursor={page['next_cursor']}").json()
        yield from page["data"]


@contextmanager
def savepoint_that_is_rolled_back():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
