"""The form of a task: tags by name, one field of when it is due, and blockers in both directions."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actions.tenants import update_tenant
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.changes.tasks import create_task, update_task
from tasks.models import Tag, Task
from tasks.tests.test_admin import address, admin_fixtures, form_of, sign_in

pytestmark = pytest.mark.one_database
__all__ = ["admin_fixtures"]


@pytest.fixture
def client(admin_fixtures):
    return sign_in("root@acme.example")


def stored(fixtures, **filters):
    with inside(fixtures.root.tenant):
        task = Task.objects.select_related("project").get(**(filters or {"pk": fixtures.task.pk}))
        task.tag_names = sorted(tag.name for tag in task.tags.all())
        task.blocker_ids = sorted(blocker.pk for blocker in task.blocked_by.all())
        return task


def open_form(client, task):
    return form_of(client.get(address(Task, "change", task.pk)))


def save(client, task, data):
    return client.post(address(Task, "change", task.pk), data)


def another(fixtures, title, **values):
    with inside(fixtures.root.tenant):
        return create_task(fixtures.ada, fixtures.apollo, title=title, **values)


# ---- tags ---------------------------------------------------------------------------------------


def test_new_tags_are_made_with_the_task(admin_fixtures, client):
    form = open_form(client, admin_fixtures.task)
    assert form["labels"] == ["hot"]

    r = save(client, admin_fixtures.task, form | {"labels": ["HOT", "brand new", "2024"]})

    assert r.status_code == 302, r.context["errors"]
    assert stored(admin_fixtures).tag_names == ["2024", "brand new", "hot"]
    with inside(admin_fixtures.root.tenant):
        assert Tag.objects.count() == 3


@pytest.mark.parametrize(
    ("tags", "sentence"), [(["x" * 101], "100 characters"), ([f"t{n}" for n in range(51)], "50")]
)
@pytest.mark.slow
def test_wrong_tags_are_refused_with_a_sentence(admin_fixtures, client, tags, sentence):
    form = open_form(client, admin_fixtures.task)

    r = save(client, admin_fixtures.task, form | {"labels": tags})

    assert r.status_code == 200
    assert sentence in str(r.context["adminform"].form.errors)
    assert stored(admin_fixtures).tag_names == ["hot"]


def test_tags_that_others_have_changed_since_stay(admin_fixtures, client):
    form = open_form(client, admin_fixtures.task)
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, tags=["cold"])

    r = save(client, admin_fixtures.task, form | {"title": "Mine"})

    assert r.status_code == 302
    assert (stored(admin_fixtures).title, stored(admin_fixtures).tag_names) == ("Mine", ["cold"])


def test_field_of_tags_offers_names(admin_fixtures, client):
    query = "app_label=tasks&model_name=task&field_name=tags&term=ho"

    r = client.get(f"/admin/autocomplete/?names=1&{query}")

    assert r.json()["results"] == [{"id": "hot", "text": "hot"}]


# ---- due ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "clock", "due_on", "due_date"),
    [
        ("2026-12-01", "", date(2026, 12, 1), None),
        ("01.12.2026", "", date(2026, 12, 1), None),
        ("2026-12-01", "14:30", None, datetime(2026, 12, 1, 13, 30, tzinfo=UTC)),
        ("", "", None, None),
    ],
)
@pytest.mark.slow
def test_due_is_a_day_or_a_time_in_the_zone_of_the_tenant(
    admin_fixtures, client, day, clock, due_on, due_date
):
    with inside(admin_fixtures.root.tenant):
        update_tenant(admin_fixtures.root, time_zone="Europe/Berlin")
    page = client.get(address(Task, "change", admin_fixtures.task.pk))

    r = save(client, admin_fixtures.task, form_of(page) | {"due_at_0": day, "due_at_1": clock})

    assert r.status_code == 302, r.context["errors"]
    assert "Time zone: Europe/Berlin." in page.content.decode()
    task = stored(admin_fixtures)
    assert (task.due_on, task.due_date) == (due_on, due_date)
    shown = client.get(address(Task, "change", admin_fixtures.task.pk)).content.decode()
    texts = ('value="2026-12-01"', 'value="14:30"')
    assert tuple(text in shown for text in texts) == (bool(day), bool(clock))


@pytest.mark.parametrize(
    ("day", "clock", "sentence"),
    [
        ("tomorrow", "", "Enter a day that exists, such as 2026-01-31"),
        ("2026-02-30", "", "Enter a day that exists, such as 2026-01-31"),
        ("2026-12-01", "noon", "a time such as 09:00"),
        ("2026-12-01", "25:00", "a time such as 09:00"),
        ("", "14:30", "Choose a day for the time"),
        ("1969-12-31", "", "Choose a year from 1970 to 2199."),
    ],
)
@pytest.mark.slow
def test_wrong_due_is_refused_with_a_sentence(admin_fixtures, client, day, clock, sentence):
    form = open_form(client, admin_fixtures.task)

    r = save(client, admin_fixtures.task, form | {"due_at_0": day, "due_at_1": clock})

    assert r.status_code == 200
    assert sentence in str(r.context["adminform"].form.errors["due_at"])


def test_unedited_time_keeps_its_fractions_of_a_second(admin_fixtures, client):
    due = datetime(2026, 12, 1, 13, 30, 12, 345678, tzinfo=UTC)
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, due_date=due)

    r = save(client, admin_fixtures.task, open_form(client, admin_fixtures.task) | {"title": "T"})

    assert r.status_code == 302
    assert stored(admin_fixtures).due_date == due


def test_due_that_others_have_changed_since_stays(admin_fixtures, client):
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, due_on=date(2026, 12, 1))
    form = open_form(client, admin_fixtures.task)
    due = datetime(2026, 12, 2, 12, tzinfo=UTC)
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, due_on=None, due_date=due)

    r = save(client, admin_fixtures.task, form | {"title": "Mine"})

    assert r.status_code == 302
    task = stored(admin_fixtures)
    assert (task.title, task.due_on, task.due_date) == ("Mine", None, due)


def test_two_edits_of_due_conflict(admin_fixtures, client):
    form = open_form(client, admin_fixtures.task)
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, due_on=date(2026, 12, 1))

    r = save(client, admin_fixtures.task, form | {"due_at_0": "2026-12-24"})

    assert r.status_code == 412
    assert stored(admin_fixtures).due_on == date(2026, 12, 1)


# ---- blockers -----------------------------------------------------------------------------------


def test_blocked_tasks_are_added_and_removed(admin_fixtures, client):
    first, second = another(admin_fixtures, "First"), another(admin_fixtures, "Second")
    other = another(admin_fixtures, "Other")
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, first, blocked_by=[admin_fixtures.task, other])
    form = open_form(client, admin_fixtures.task)
    assert form["blocks"] == [first.pk]

    r = save(client, admin_fixtures.task, form | {"blocks": [second.pk]})

    assert r.status_code == 302, r.context["errors"]
    assert stored(admin_fixtures, pk=first.pk).blocker_ids == [other.pk]
    assert stored(admin_fixtures, pk=second.pk).blocker_ids == [admin_fixtures.task.pk]
    with inside(admin_fixtures.root.tenant):
        events = Event.objects.filter(via="admin", subject_type="task").values_list("subject_id")
        assert sorted(events) == [(first.pk,), (second.pk,)]


@pytest.mark.slow
def test_blocked_task_that_another_user_added_meanwhile_stays(admin_fixtures, client):
    first, second = another(admin_fixtures, "First"), another(admin_fixtures, "Second")
    form = open_form(client, admin_fixtures.task)
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, first, blocked_by=[admin_fixtures.task])

    r = save(client, admin_fixtures.task, form | {"blocks": [second.pk]})

    assert r.status_code == 302, r.context["errors"]
    assert stored(admin_fixtures, pk=first.pk).blocker_ids == [admin_fixtures.task.pk]
    assert stored(admin_fixtures, pk=second.pk).blocker_ids == [admin_fixtures.task.pk]


@pytest.mark.slow
def test_circle_of_blockers_is_refused_in_the_form(admin_fixtures, client):
    first = another(admin_fixtures, "First")
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, blocked_by=[first])

    r = save(
        client, admin_fixtures.task, open_form(client, admin_fixtures.task) | {"blocks": [first.pk]}
    )

    assert r.status_code == 200
    assert r.context["adminform"].form.non_field_errors()
    assert stored(admin_fixtures, pk=first.pk).blocker_ids == []


def test_new_task_can_block_another_one(admin_fixtures, client):
    data = {"project": admin_fixtures.apollo.pk, "title": "Fuel", "status": "todo",
            "priority": "low", "metadata": "{}", "blocks": [admin_fixtures.task.pk]}  # fmt: skip

    r = client.post(address(Task, "add"), data)

    assert r.status_code == 302, r.context["errors"]
    fuel = stored(admin_fixtures, title="Fuel")
    assert stored(admin_fixtures).blocker_ids == [fuel.pk]


@pytest.mark.isolation
@pytest.mark.slow
def test_task_of_another_tenant_cannot_be_chosen(admin_fixtures, client):
    form = open_form(client, admin_fixtures.task)

    for name in ("blocks", "blockers"):
        r = save(client, admin_fixtures.task, form | {name: [admin_fixtures.plot.pk]})
        assert "of the list." in str(r.context["adminform"].form.errors[name])


# ---- pickers, and adding several ----------------------------------------------------------------


@pytest.mark.parametrize("field", ["parent", "blocked_by"])
def test_pickers_name_key_title_and_project(admin_fixtures, client, field):
    query = f"app_label=tasks&model_name=task&field_name={field}&term=Launch"

    with CaptureQueriesContext(connection) as few:
        results = client.get(f"/admin/autocomplete/?{query}").json()["results"]
    for number in range(10):
        another(admin_fixtures, f"Launch {number}")
    with CaptureQueriesContext(connection) as many:
        client.get(f"/admin/autocomplete/?{query}")

    assert [row["text"] for row in results] == ["APO-1 · Launch · Apollo"]
    assert len(many) == len(few)


def test_chosen_rows_name_key_title_and_project(admin_fixtures, client):
    parent = another(admin_fixtures, "Trip")
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, parent=parent)

    page = client.get(address(Task, "change", admin_fixtures.task.pk)).content.decode()

    assert f"{parent.key} · Trip · Apollo" in page
    assert "APO · Apollo" in page


def test_adding_another_task_keeps_the_project(admin_fixtures, client):
    data = {"project": admin_fixtures.apollo.pk, "title": "Fuel", "status": "todo",
            "priority": "low", "metadata": "{}", "_addanother": "1"}  # fmt: skip

    r = client.post(address(Task, "add"), data)

    assert r["Location"] == f"/admin/tasks/task/add/?project={admin_fixtures.apollo.pk}"
    assert (
        f'<option value="{admin_fixtures.apollo.pk}" selected'
        in client.get(r["Location"]).content.decode()
    )
