"""SQLite's plans: no statement of a frequent request reads a whole tenant, or sorts what an index
has in order.

The statistics are fixed, so the plans in these small databases are the ones of large databases.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections

from taskflow.db.sqlite.statistics import planned_statistics
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Task
from tasks.queries.claimable import lock_claimable_tasks
from tasks.queries.filters import TASK_SORTS

pytestmark = [pytest.mark.slow, pytest.mark.skipif("connection.vendor != 'sqlite'")]

# Tables that grow with the work that is done in a tenant.
LARGE = {
    "audit_event",
    "tasks_comment",
    "tasks_page",
    "tasks_task",
    "tasks_taskblocker",
    "tasks_tasktag",
}
WIDE = {"tenant_id", "project_id", "status", "deleted_at"}  # conditions on these select many rows
STEP = re.compile(r"(?:SEARCH|SCAN) (\S+)(?: USING (?:COVERING )?INDEX (\S+)(?: \((.*)\))?)?")
TABLE = re.compile(r'(?:FROM|JOIN) \(*"(\w+)"(?: "?(\w+)"?)?')
EXPLAINED = re.compile(r"SELECT|UPDATE|DELETE|WITH")
DAY = "2026-01-05"


@dataclass(frozen=True)
class Step:
    """One line of a plan, with the lines above it that lead there."""

    text: str
    parent: int
    is_correlated: bool


class Plan:
    def __init__(self, sql, params):
        self.sql = sql
        self.names = {alias or table for table, alias in TABLE.findall(sql)}
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'")
            self.tables = dict(cursor.fetchall())
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            lines = cursor.fetchall()
        self.steps = {}
        for number, parent, _, text in lines:
            above = self.steps.get(parent)
            is_correlated = "CORRELATED" in text or (above is not None and above.is_correlated)
            self.steps[number] = Step(text, parent, is_correlated)

    def __str__(self):
        return f"{self.sql}\n" + "\n".join(step.text for step in self.steps.values())

    def columns(self, step):
        """The columns by which the step finds rows of a large table; None for another step."""
        match = STEP.match(step.text)
        if match is None or self.tables.get(match[2]) not in LARGE:
            return None
        return {part.split("=")[0].split("<")[0].split(">")[0] for part in (match[3] or "").split(" AND ")} - {""}  # fmt: skip

    def whole_tables(self):
        """Steps that read all rows of a table, of all tenants."""
        scans = [step for step in self.steps.values() if step.text.startswith("SCAN ")]
        return [s.text for s in scans if STEP.match(s.text)[1] in self.names]

    def whole_tenants(self, *, for_each_row_only=False):
        """Steps that read all rows that a tenant has in a large table."""
        steps = [s for s in self.steps.values() if self.columns(s) in (set(), {"tenant_id"})]
        return [s.text for s in steps if s.is_correlated or not for_each_row_only]

    def large_sorts(self):
        """Sorts of rows that a condition on WIDE columns selects."""
        sorts = [s for s in self.steps.values() if re.match("USE TEMP B-TREE FOR .*ORDER", s.text)]
        return [s.text for s in self.beside(sorts) if self.is_wide(s, WIDE)]

    def sorts_of_large_groups(self):
        """large_sorts() without those of rows that are equal in a column of many values."""
        sorts = [s for s in self.steps.values() if s.text == "USE TEMP B-TREE FOR ORDER BY"]
        within = [s for s in self.steps.values() if re.match("USE TEMP .* OF ORDER BY", s.text)]
        by_priority = [s for s in self.beside(within) if "task_in_order_of_priority" in s.text]
        wide = WIDE | {"priority_rank", "due_date", "due_on", "due"}
        return [s.text for s in self.beside(sorts) + by_priority if self.is_wide(s, wide)]

    def beside(self, sorts):
        parents = {sort.parent for sort in sorts}
        return [s for s in self.steps.values() if s.parent in parents]

    def is_wide(self, step, wide):
        columns = self.columns(step)
        return columns is not None and columns <= wide


def plans_of(client, method, path, body=None):
    """The plans of all statements of a request."""
    statements = []

    def note(execute, sql, params, many, context):
        if EXPLAINED.match(str(sql)):
            statements.append((str(sql), params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        text = json.dumps(body) if body is not None else ""
        response = client.generic(method.upper(), path, text, content_type="application/json")
    assert response.status_code < 300, (path, response.content)
    assert statements
    return [Plan(sql, params) for sql, params in statements]


def check(plans, *, may_walk=False, may_sort=True):
    """`may_walk` allows to read a tenant's rows once, in order, until a page is full."""
    for plan in plans:
        assert not plan.whole_tables(), str(plan)
        assert not plan.whole_tenants(for_each_row_only=may_walk), str(plan)
        assert may_sort or not plan.large_sorts(), str(plan)


@pytest.fixture
def clients(fixtures, as_):
    """An administrator, a member of one project, and a member with a token bound to it."""
    return [
        as_(fixtures.boss),
        as_(fixtures.bob),
        as_(fixtures.bob, project_ids=[fixtures.apollo.pk]),
    ]


# ---- reading ------------------------------------------------------------------------------------

SORTS = [f"{sign}{name}" for name in TASK_SORTS for sign in ("", "-")]
FILTERS = [
    "status=todo",
    "status=todo&status=in_progress",
    "priority=high",
    "assignee=me",
    "assignee=none",
    "created_by=me",
    "tag=bug",
    "ready=true",
    "ready=false",
    "parent_none=true",
    "parent=APO-1",
    "blocked_by_none=true",
    "blocked_by=APO-1",
    "external_ref=x",
    "tag_none=true",
    "due_none=true",
    "due_none=false",
    "status_not=done",
    f"due_before={DAY}",
    f"due_after={DAY}",
    f"created_after={DAY}",
    f"completed_before={DAY}",
    f"updated_since={DAY}T00:00:00Z",
    "q=launch",
    "q=APO-1",
    "project=APO",
    "project=APO&status=todo",
    "project=APO&assignee=me&status=todo",
]
OTHERS = [
    "/tasks/APO-1",
    "/tasks/APO-1/events",
    "/projects",
    "/projects?status=active",
    "/projects?sort=name",
    "/projects/APO",
    "/projects/APO/events",
    "/projects/APO/members",
    "/comments?task=APO-1",
    "/pages",
    "/pages?project=APO",
    "/tags",
    "/users",
    "/me",
    "/trash",
    "/search?q=launch",
]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sort", ["", *SORTS])
def test_list_in_any_order_is_read_in_the_order_of_an_index(clients, fixtures, sort):
    cursor_of = clients[0].get(f"/tasks?limit=1&sort={sort or '-created_at'}").json
    for client in clients:
        for path in (f"/tasks?sort={sort}", f"/tasks?project={fixtures.apollo.pk}&sort={sort}"):
            path = path if sort else path.removesuffix("sort=")
            for more in ("", "&limit=200", "&skip=7", "&status=todo"):
                check(plans_of(client, "get", path + more), may_sort=False)
    assert cursor_of()["data"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sort", ["", *SORTS])
def test_page_after_a_cursor_is_read_by_an_index(clients, fixtures, sort):
    with inside(fixtures.acme):
        drafts = [
            CreateTask(fixtures.apollo, "Test", due)
            for due in ({}, {"due_on": DAY}, {"due_date": f"{DAY}T00:00:00Z"})
        ]
        create_tasks(fixtures.ada, drafts)
    path = f"/tasks?limit=1&sort={sort}" if sort else "/tasks?limit=1"
    for client in clients:
        cursor = client.get(path).json()["next_cursor"]
        while cursor:
            plans = plans_of(client, "get", f"{path}&cursor={cursor}")
            check(plans, may_sort=False)
            cursor = client.get(f"{path}&cursor={cursor}").json()["next_cursor"]


@pytest.mark.slow
@pytest.mark.parametrize("first", SORTS)
def test_list_sorted_by_two_columns_sorts_no_large_group(clients, fixtures, first):
    with inside(fixtures.acme):
        drafts = [
            CreateTask(fixtures.apollo, "Test", {"priority": priority} | due)
            for priority in ("low", "high")
            for due in ({"due_on": DAY}, {"due_date": f"{DAY}T00:00:00Z"})
        ]
        create_tasks(fixtures.ada, drafts)
    for second in [name for name in TASK_SORTS if name != first.removeprefix("-")]:
        path, cursor = f"/tasks?limit=1&sort={first},{second}", ""
        while cursor is not None:
            plans = plans_of(clients[1], "get", path + cursor)
            check(plans)
            for plan in plans:
                assert not plan.sorts_of_large_groups(), str(plan)
            following = clients[1].get(path + cursor).json()["next_cursor"]
            cursor = following and f"&cursor={following}"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("query", FILTERS)
def test_filtered_list_does_not_read_a_whole_tenant_for_each_row(clients, query):
    for client in clients:
        for path in (f"/tasks?{query}", f"/tasks?{query}&include=count"):
            check(plans_of(client, "get", path), may_walk=True)


@pytest.mark.parametrize("status", ["", "&status_not=done", "&status=todo&status=in_progress"])
def test_most_urgent_tasks_of_a_person_are_read_in_the_order_of_an_index(clients, status):
    for client in clients:
        for path in (
            "/tasks?assignee=me&sort=-priority",
            "/tasks?assignee=me&sort=-priority&skip=7",
        ):
            plans = plans_of(client, "get", path + status)
            (plan,) = [plan for plan in plans if '"priority_rank"' in plan.sql]
            assert "USING INDEX task_by_assignee_and_priority" in str(plan).replace("COVERING ", "")
            check([plan], may_sort=False)


def test_comments_are_read_in_the_order_of_an_index_until_a_page_is_full(clients):
    for client in clients:
        check(plans_of(client, "get", "/comments"), may_walk=True, may_sort=False)


@pytest.mark.parametrize("path", OTHERS)
def test_other_reads_do_not_read_a_whole_tenant(clients, path):
    for client in clients:
        check(plans_of(client, "get", path))


# ---- writing ------------------------------------------------------------------------------------


def writes_of(fixtures):
    task, project = fixtures.task.pk, fixtures.apollo.pk
    new = {"project_id": project, "title": "Test", "tags": ["bug"], "blocked_by": [task]}
    return [
        ("post", "/tasks", new),
        ("patch", f"/tasks/{task}", {"title": "Other", "assignee_id": fixtures.bob.user.pk}),
        ("patch", f"/tasks/{task}", {"tags": ["bug", "new"], "parent_id": None}),
        ("post", f"/tasks/{task}/assignment", {"assignee_id": fixtures.ada.user.pk}),
        ("post", f"/tasks/{task}/completion", None),
        ("delete", f"/tasks/{task}/completion", None),
        ("put", f"/projects/{project}/tasks/by-ref/a", {"title": "Test"}),
        ("put", f"/projects/{project}/tasks/by-ref/a", {"title": "Other"}),
        ("post", "/tasks/bulk", {"operations": [{"op": "create", "data": new}] * 3}),
        ("post", "/tasks/bulk", {"operations": [{"op": "complete", "id": task}]}),
        ("post", "/comments", {"task_id": task, "body": "Test"}),
        ("post", f"/projects/{project}/completion", None),
        ("delete", f"/tasks/{task}", None),
    ]


@pytest.mark.parametrize("where", [{}, {"project": ["APO"]}, {"priority": ["high"]}])
def test_claims_read_the_open_tasks_in_their_order(clients, where):
    for client in clients:
        plans = plans_of(client, "post", "/claims?dry_run=true", {"where": where})
        (plan,) = [p for p in plans if "NOT (EXISTS" in p.sql and "database_time" in p.sql]
        assert "SEARCH tasks_task USING INDEX task_to_claim" in str(plan), str(plan)
        check([plan], may_walk=True)


def test_claim_stops_at_the_first_free_task(fixtures):
    """SQLite leaves a project at the first task that comes after the ones it has found. The plan
    does not show it: it only says that the rows are sorted.
    """
    steps = {}
    for actor in (fixtures.boss, fixtures.bob):
        for count in (10, 200):
            with inside(fixtures.acme):
                create_tasks(
                    fixtures.ada, [CreateTask(fixtures.apollo, "Test", {}) for _ in range(count)]
                )
                lock_claimable_tasks(actor, {}, 1)
                calls = []
                connection.connection.set_progress_handler(lambda c=calls: c.append(1), 10)
                lock_claimable_tasks(actor, {}, 1)
                connection.connection.set_progress_handler(None, 0)
            steps[actor.user.pk, count] = len(calls)

    for actor in (fixtures.boss, fixtures.bob):
        assert steps[actor.user.pk, 200] < 2 * steps[actor.user.pk, 10], steps


def test_writes_do_not_read_a_whole_tenant(fixtures, as_):
    client = as_(fixtures.ada)
    for method, path, body in writes_of(fixtures):
        check(plans_of(client, method, path, body))


# ---- statistics ---------------------------------------------------------------------------------


def stored_statistics():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl, idx")
        return cursor.fetchall()


def test_every_index_has_its_planned_statistics(db):
    with connection.cursor() as cursor:
        planned = sorted(planned_statistics(cursor))
        cursor.execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tasks_task_search%'")
        assert cursor.fetchone()[0] > 1  # the full-text tables, which have no rows here

    assert stored_statistics() == planned
    known = {index for _, index, _ in planned}
    assert {i.name for i in Task._meta.indexes} <= known
    assert not {table for table, _, _ in planned if "_search" in table}


def test_statistics_follow_from_the_columns_of_an_index(db):
    numbers = {index: stat.removesuffix(" sz=40") for _, index, stat in stored_statistics()}

    assert numbers["task_by_status"] == "1000000 100000 500 166 1"
    assert numbers["task_in_order_of_priority"] == "1000000 100000 500 166 1"
    assert numbers["member_by_user"] == "1000000 100000 500 2"
    assert numbers["task_priority_then_due_on"] == "1000000 100000 500 166 1 1"
    assert numbers["task_in_order_of_title"] == "1000000 100000 500 2 1"


@pytest.mark.django_db(transaction=True)
def test_migrate_restores_statistics_after_analyze():
    before = stored_statistics()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert stored_statistics() != before

    call_command("migrate", verbosity=0)

    assert stored_statistics() == before


def test_plans_do_not_depend_on_the_data(fixtures, as_):
    paths = ["/tasks?sort=-due_date", "/tasks?status=todo", "/tasks?assignee=me", "/comments"]
    client = as_(fixtures.bob)
    client.get("/me")  # stores the last use of the token
    before = [str(plan) for path in paths for plan in plans_of(client, "get", path)]

    with inside(fixtures.acme):
        then = datetime(2026, 1, 1, tzinfo=UTC)
        due = {"due_date": then, "assignee": fixtures.bob.user}
        made = create_tasks(
            fixtures.ada, [CreateTask(fixtures.apollo, "Test", due) for _ in range(300)]
        )
        for task in list(made.values())[:50]:
            create_comment(fixtures.ada, task, body="Test")

    assert [str(plan) for path in paths for plan in plans_of(client, "get", path)] == before


def test_only_migrate_analyses_a_database():
    root = Path(__file__).parents[2]
    files = {
        path.relative_to(root).as_posix()
        for folder in ("taskflow", "accounts", "tasks")
        for path in (root / folder).rglob("*.py")
        if "/tests/" not in path.relative_to(root).as_posix()
        and re.search(r"ANALYZE|pragma optimize", path.read_text(), re.IGNORECASE)
    }

    assert files == {
        "taskflow/db/sqlite/statistics.py",
        "tasks/seeding/benchmark.py",
    }  # the second one analyzes PostgreSQL only
    assert connections["default"].vendor == "sqlite"
