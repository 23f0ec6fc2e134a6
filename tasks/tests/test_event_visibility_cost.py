"""The events of a project with a large log: what the filter of visible events costs."""

from __future__ import annotations

import time
from statistics import median

import pytest
from django.db import connection

from conftest import PROOF, ApiClient, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Page, Project, Task

pytestmark = [pytest.mark.slow, pytest.mark.proof]
EVENTS = 40_000 if PROOF else 20_000
TASKS = EVENTS // 20
CHUNK = 1000  # rows per INSERT
CALLS = 15


def fill(fixtures) -> None:
    """Add many tasks to two projects, and many events of them and of a page to both."""
    with inside(fixtures.acme):
        other = Project.objects.create(tenant=fixtures.acme, name="O", key="OTH", owner=fixtures.ada.user)  # fmt: skip
        projects = [fixtures.apollo.pk, other.pk]
        first = 10_000_000  # the sequence of the ids has not come that far
        # In small parts: the database ends a transaction that is idle for a few seconds.
        for start in range(0, TASKS, CHUNK):
            Task.everything.bulk_create(
                [
                    Task(
                        pk=first + n,
                        tenant=fixtures.acme,
                        project_id=projects[n % 2],
                        number=1000 + n,
                        title="t",
                    )
                    for n in range(start, min(start + CHUNK, TASKS))
                ]
            )
        page = Page.everything.create(tenant=fixtures.acme, project=fixtures.apollo, title="p", owner=fixtures.ada.user)  # fmt: skip
        for start in range(0, EVENTS, CHUNK):
            Event.objects.bulk_create(
                [
                    Event(
                        tenant=fixtures.acme,
                        actor=fixtures.ada.user,
                        via="api",
                        verb="changed",
                        subject_type="page" if n % 10 == 0 else "task",
                        subject_id=page.pk if n % 10 == 0 else first + n % TASKS,
                        version=1 + n,
                        project_id=projects[n % 2],
                        was_published=n % 20 == 0 if n % 10 == 0 else None,
                        changes={"title": ["a", "b"]},
                    )
                    for n in range(start, start + CHUNK)
                ]
            )
    with connection.cursor() as cursor:
        for table in ("audit_event", "tasks_task"):
            cursor.execute(f"ANALYZE {table}")


@pytest.mark.raw_sql
def test_events_of_a_project_are_read_in_the_order_of_an_index(fixtures):
    fill(fixtures)
    figures = {}
    for name in ("bob", "boss"):
        client = ApiClient(token_of(getattr(fixtures, name)))
        client.get("/projects/APO/events")
        times = []
        for _ in range(CALLS):
            start = time.perf_counter()
            assert len(client.get("/projects/APO/events").json()["data"]) == 50
            times.append(time.perf_counter() - start)
        figures[name] = f"{median(times) * 1000:.1f} ms"
        sent = []

        def keep(execute, sql, params, many, context, sent=sent):
            if '"audit_event"' in str(sql):
                sent.append((sql, params))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(keep):
            client.get("/projects/APO/events")
        plan = explain(*sent[0], fixtures)
        print(f"\n{connection.vendor}, {EVENTS} events, {name}: {figures[name]}\n{plan}")
        assert "event_project" in plan
        assert "Seq Scan on audit_event" not in plan
        assert "SCAN audit_event" not in plan.replace("SCAN audit_event USING INDEX", "")
    assert figures


def explain(sql, params, fixtures) -> str:
    with inside(fixtures.acme), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, SUMMARY) {sql}", params)
            return "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return "\n".join(row[3] for row in cursor.fetchall())
