"""Sorted lists compared with Python's sorting, for viewers of many, few and one project."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.tasks import delete_task
from tasks.models import Task

pytestmark = pytest.mark.slow

# Names of sorts: the value of a row in Python. Titles sort by each database's own collation.
KEYS = {
    "created_at": lambda task: task.created_at,
    "updated_at": lambda task: task.updated_at,
    "last_activity_at": lambda task: task.last_activity_at,
    "due_date": lambda task: task.due_date,
    "due_on": lambda task: task.due_on,
    "due": lambda task: task.due_date or (task.due_on and middle_of(task.due_on)),
    "priority": lambda task: task.priority_rank,
    "number": lambda task: task.number,
}
ORDERS = [f"{sign}{name}" for name in KEYS for sign in ("", "-")]
PROJECTS, EACH = 5, 12
DAY = date(2026, 1, 1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def middle_of(day):
    return datetime.combine(day, time(11, 59, 59), UTC)


def fill(fixtures):
    """Tasks of several projects, with ties and empty values; one task of each in the trash."""
    chance = random.Random(3)
    projects = [fixtures.apollo]
    for number in range(PROJECTS - 1):
        project = create_project(fixtures.ada, name=f"Project {number}")
        if number < 2:
            add_member(fixtures.ada, project, user=fixtures.bob.user)
        projects.append(project)
    for project in projects:
        drafts = [
            CreateTask(
                project,
                f"Task {n}",
                {"priority": chance.choice(["low", "medium", "high"])}
                | chance.choice(
                    [
                        {},
                        {"due_on": DAY + timedelta(days=chance.randrange(3))},
                        {"due_date": NOON + timedelta(days=chance.randrange(3))},
                    ]
                ),
            )
            for n in range(EACH)
        ]
        made = create_tasks(fixtures.ada, drafts)
        delete_task(fixtures.ada, made[0])
    for task in Task.objects.all():
        then = NOON + timedelta(hours=chance.randrange(4))
        commented = chance.choice([None, then - timedelta(hours=1), then + timedelta(hours=2)])
        times = {"created_at": then, "updated_at": then, "commented_at": commented}
        Task.objects.filter(pk=task.pk).update(**times)


def expected_ids(actor, order):
    """Return the ids of the visible tasks in this order. Empty values are last in each column, and
    ties are sorted by id in the direction of the last column.
    """
    names = order.split(",")
    with inside(actor.tenant):
        tasks = list(Task.objects.visible_to(actor.viewer))
    tasks.sort(key=lambda task: task.pk, reverse=names[-1].startswith("-"))
    for name in reversed(names):
        tasks = sorted_by(tasks, name.removeprefix("-"), descends=name.startswith("-"))
    return [task.pk for task in tasks]


def sorted_by(tasks, name, *, descends):
    value = KEYS[name]
    known = [task for task in tasks if value(task) is not None]
    empty = [task for task in tasks if value(task) is None]
    return sorted(known, key=value, reverse=descends) + empty


def ids_at(client, query):
    page = client.get(f"/tasks?{query}").json()
    return [task["id"] for task in page["data"]], page["next_cursor"]


def walk(client, query):
    """Return the ids of all pages, each requested with the cursor of the previous page."""
    cursor, ids = "", []
    while cursor is not None:
        page, following = ids_at(client, f"{query}{cursor}")
        ids += page
        cursor = following and f"&cursor={following}"
    return ids


@pytest.fixture
def filled(fixtures):
    with inside(fixtures.acme):
        fill(fixtures)
    return fixtures


@pytest.mark.sampled(2)
@pytest.mark.parametrize("order", ORDERS)
def test_sorted_list_has_the_order_of_its_values(filled, as_, order):
    for actor in (filled.boss, filled.ada, filled.bob, filled.carl, filled.eve):
        ids, _ = ids_at(as_(actor), f"limit=200&sort={order}")
        assert ids == expected_ids(actor, order)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("order", ORDERS)
def test_pages_by_cursor_and_by_skip_are_parts_of_the_list(filled, as_, order):
    client, ids = as_(filled.bob), expected_ids(filled.bob, order)

    assert walk(client, f"limit=7&sort={order}") == ids
    for skip in (1, 2, 3, len(ids) - 5, len(ids), len(ids) + 1):
        assert ids_at(client, f"limit=9&sort={order}&skip={skip}")[0] == ids[skip : skip + 9]


@pytest.mark.slow
@pytest.mark.parametrize("first", ORDERS)
def test_pages_sorted_by_two_columns_are_parts_of_the_list(filled, as_, first):
    client = as_(filled.bob)
    seconds = [s for s in ORDERS if s.removeprefix("-") != first.removeprefix("-")]
    for order in [f"{first},{second}" for second in seconds]:
        ids = expected_ids(filled.bob, order)
        assert walk(client, f"limit=13&sort={order}") == ids, order
        assert ids_at(client, f"limit=9&sort={order}&skip=11")[0] == ids[11:20], order


@pytest.mark.slow
@pytest.mark.parametrize("filters", ["", "&project={}", "&assignee=none", "&status=todo"])
def test_list_sorted_by_several_columns_is_the_same_with_any_filter(filled, as_, filters):
    client, where = as_(filled.bob), filters.format(filled.apollo.pk)
    for order in ("-priority,due_date", "due_on,-priority,due_date", "due_date,due_on,-number"):
        matching = set(ids_at(client, f"limit=200{where}")[0])
        expected = [pk for pk in expected_ids(filled.bob, order) if pk in matching]
        assert expected
        assert walk(client, f"limit=5&sort={order}{where}") == expected


@pytest.mark.parametrize("filters", ["status=todo", "priority=high", "created_after=2026-01-01"])
def test_filtered_list_is_the_list_without_the_other_rows(filled, as_, filters):
    client = as_(filled.bob)
    for order in ("-created_at", "due_on", "-due_date"):
        matching = set(ids_at(client, f"limit=200&{filters}")[0])
        expected = [pk for pk in expected_ids(filled.bob, order) if pk in matching]
        assert ids_at(client, f"limit=200&{filters}&sort={order}")[0] == expected


def test_page_with_fewer_rows_than_projects_has_the_first_rows_of_the_list(filled, as_):
    client, ids = as_(filled.ada), expected_ids(filled.ada, "-due_date")

    assert ids_at(client, "limit=2&sort=-due_date")[0] == ids[:2]
    assert ids_at(client, "limit=2&sort=-due_date&skip=1")[0] == ids[1:3]


def test_count_of_a_list_of_many_projects_is_exact(filled, as_):
    for actor in (filled.boss, filled.bob, filled.eve):
        page = as_(actor).get("/tasks?limit=1&include=count").json()
        assert page["count"] == len(expected_ids(actor, "number"))


@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_paging_in_any_combination_of_sorts_returns_every_row_once(filled, as_, data):
    names = data.draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=4, unique=True))
    order = ",".join(data.draw(st.sampled_from(["", "-"])) + name for name in names)
    actor = data.draw(st.sampled_from([filled.boss, filled.ada, filled.bob, filled.carl]))
    limit = data.draw(st.integers(1, 20))

    assert walk(as_(actor), f"limit={limit}&sort={order}") == expected_ids(actor, order)
