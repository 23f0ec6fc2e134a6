"""What the feed costs in a large log: each call reads one range of one index, whatever it filters."""

from __future__ import annotations

import re
import time
from statistics import median

import pytest
from django.db import connection

from conftest import PROOF, ApiClient, token_of
from taskflow.audit.feed import WINDOW, FeedFilters, read_events
from taskflow.tenancy import inside

pytestmark = [pytest.mark.slow, pytest.mark.proof, pytest.mark.raw_sql]
EVENTS = 1_000_000 if PROOF else 20_000
CHUNK = 20_000  # rows per INSERT
CALLS = 5
NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(%s, %s) AS n",
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT %s UNION ALL SELECT n + 1 FROM s WHERE n < %s)"
    " SELECT n FROM s",
}
INSERT = """
INSERT INTO audit_event (tenant_id, epoch, sequence, actor_id, via, request_id, reason, verb,
                         subject_type, subject_id, version, project_id, changes, created_at)
SELECT %s, 1, 0, %s, 'api', '', '', 'changed', 'task', %s, n, %s, '{}', CURRENT_TIMESTAMP
FROM (NUMBERS) AS numbers
"""


def fill(fixtures) -> None:
    """Add many events of one task. In small parts: a statement may take a few seconds."""
    sql = INSERT.replace("NUMBERS", NUMBERS[connection.vendor])
    for start in range(0, EVENTS, CHUNK):
        row = [fixtures.acme.pk, fixtures.ada.user.pk, fixtures.task.pk, fixtures.apollo.pk]
        with inside(fixtures.acme), connection.cursor() as cursor:
            cursor.execute(sql, [*row, start, min(start + CHUNK, EVENTS) - 1])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_event")


def explain(sql: str, params, fixtures) -> str:
    with inside(fixtures.acme), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            return "\n".join(row[3] for row in cursor.fetchall())
        # As the server runs it: planned once, for any values.
        numbers = iter(range(1, len(params) + 1))
        numbered = re.sub("%s", lambda _: f"${next(numbers)}", sql)
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE plan AS {numbered}")
        values = ", ".join(["%s"] * len(params))
        cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE plan({values})", params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("DEALLOCATE plan")
        return plan


def test_each_call_reads_a_range_of_the_index_of_the_feed(fixtures):
    fill(fixtures)
    filters = {
        "none": FeedFilters(),
        "project": FeedFilters(projects=(fixtures.apollo.pk,)),
        "task": FeedFilters(tasks=(fixtures.task.pk,)),
        "actor": FeedFilters(actors=(fixtures.bob.user.pk,)),
        "type": FeedFilters(types=(("task", "completed"),)),
    }
    for name in ("boss", "bob"):
        viewer = getattr(fixtures, name).viewer
        for label, wanted in filters.items():
            sent: list[tuple[str, object]] = []

            def keep(execute, sql, params, many, context, sent=sent):
                if 'FROM "audit_event"' in str(sql):
                    sent.append((sql, params))
                return execute(sql, params, many, context)

            times = []
            with inside(fixtures.acme):
                with connection.execute_wrapper(keep):
                    page = read_events(viewer, "0", wanted, 50)
                for _ in range(CALLS):
                    started = time.perf_counter()
                    read_events(viewer, page.next_cursor, wanted, 50)
                    times.append(time.perf_counter() - started)
            plans = [explain(sql, params, fixtures) for sql, params in sent]
            print(
                f"\n{connection.vendor}, {EVENTS} events, {name}, filter {label}: "
                f"{median(times) * 1000:.1f} ms, at most {WINDOW} events examined"
            )
            for plan in plans:
                assert "event_feed" in plan, plan
                assert "Seq Scan on audit_event" not in plan, plan
                assert not re.search(r"SCAN (audit_event|[A-Z]\d+)$", plan, re.M), plan


def test_list_of_events_answers_with_a_large_log(fixtures):
    client = ApiClient(token_of(fixtures.bob))

    assert client.get("/events?after=0&limit=1").json()["has_more"]
