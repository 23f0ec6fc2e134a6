"""Metrics: what is counted, how workers share their memory, and the text of a scrape."""

from __future__ import annotations

import multiprocessing
import re
import threading
import time
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection
from django.test import Client

from conftest import ApiClient, build_fixtures, token_of
from taskflow.db import causes
from taskflow.http.contention import run_with_retries
from taskflow.http.error_causes import cause_of
from taskflow.http.unavailable import Contended
from taskflow.metrics import definitions
from taskflow.metrics.exposition import Reading, write_text
from taskflow.metrics.families import OTHER, Counter, Gauge, Histogram, Registry, reserve
from taskflow.tenancy import inside
from tasks.api import tasks as task_api
from tasks.models import Task

pytestmark = pytest.mark.one_database


@pytest.fixture
def families():
    return (
        Counter("orders_total", "Orders.", ("kind", "size"), (("book", "pen"), ("small",))),
        Gauge("shelf", "Books on the shelf."),
        Histogram("wait_seconds", "Time.", bounds=(0.1, 1.0)),
        Counter("rare_total", "Rare.", ("kind",), (("x", "y"),), hides_unused=True),
    )


@pytest.fixture
def registry(families):
    return Registry(families)


def text_of(registry, *memories):
    return write_text(registry, memories or (registry.values,))


def lines_of(registry, *memories):
    return [line for line in text_of(registry, *memories).splitlines() if line[0] != "#"]


def memory_of(registry):
    return reserve(registry.size)


def test_counter_counts_each_series(registry, families):
    orders = families[0]

    orders.add(1.0, ("book", "small"))
    orders.add(2.5, ("book", "small"))

    assert 'orders_total{kind="book",size="small"} 3.5' in lines_of(registry)


def test_unknown_label_value_is_counted_as_other(registry, families):
    families[0].add(1.0, ("tf_1_secret", "small"))

    assert 'orders_total{kind="other",size="small"} 1' in lines_of(registry)
    assert "secret" not in text_of(registry)


def test_histogram_has_cumulative_buckets_a_sum_and_a_count(registry, families):
    for value in (0.05, 0.1, 0.5, 7.0):
        families[2].observe(value)

    assert [line for line in lines_of(registry) if line.startswith("wait")] == [
        'wait_seconds_bucket{le="0.1"} 2',
        'wait_seconds_bucket{le="1"} 3',
        'wait_seconds_bucket{le="+Inf"} 4',
        "wait_seconds_sum 7.65",
        "wait_seconds_count 4",
    ]


def test_unused_series_are_left_out_only_where_it_is_declared(registry, families):
    families[3].add(1.0, ("x",))

    lines = lines_of(registry)

    assert [line for line in lines if line.startswith("rare")] == ['rare_total{kind="x"} 1']
    assert len([line for line in lines if line.startswith("orders")]) == 6


def test_text_shows_the_sum_of_all_workers(registry, families):
    memories = [memory_of(registry) for _ in range(3)]
    for process, memory in enumerate(memories, 1):
        registry.attach(memory, process)
        families[1].set(2.0)
        families[0].add(1.0, ("pen", "small"))

    lines = lines_of(registry, *memories)

    assert "shelf 6" in lines
    assert 'orders_total{kind="pen",size="small"} 3' in lines


def test_worker_that_replaces_another_continues_its_counters_and_not_its_gauges(registry, families):
    memory = memory_of(registry)
    registry.attach(memory, 1)
    families[0].add(5.0, ("pen", "small"))
    families[1].set(9.0)

    registry.attach(memory, 2)

    assert 'orders_total{kind="pen",size="small"} 5' in lines_of(registry)
    assert "shelf 0" in lines_of(registry)
    assert memory[Registry.PROCESS] == 2


def test_no_addition_of_concurrent_threads_is_lost(registry, families):
    def add():
        for _ in range(5_000):
            families[0].add(1.0, ("pen", "small"))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 'orders_total{kind="pen",size="small"} 20000' in lines_of(registry)


def test_memory_of_multiprocessing_is_shared_with_a_forked_worker(registry, families):
    shared = multiprocessing.RawArray("d", registry.size)
    memory = memoryview(shared).cast("B").cast("d")

    def work():
        registry.attach(memory, 7)
        families[0].add(4.0, ("book", "small"))

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    worker.join()

    assert 'orders_total{kind="book",size="small"} 4' in lines_of(registry, memory)


def test_label_values_are_escaped_and_readings_are_written():
    reading = Reading("a", "A.", labels=("x",), values={('q"\\\n',): 1.5})

    text = write_text(Registry(()), (), (reading,))

    assert text == '# HELP a A.\n# TYPE a gauge\na{x="q\\"\\\\\\n"} 1.5\n'


# ---- the metrics of TaskFlow ---------------------------------------------------------------------


@pytest.fixture
def recorded():
    """The metrics of the process, all at 0. recorded(name) returns their lines."""
    definitions.registry.lay_out()
    yield lambda name="": [line for line in lines_of(definitions.registry) if line.startswith(name)]
    definitions.registry.lay_out()


@pytest.mark.parametrize("family", definitions.FAMILIES, ids=lambda family: family.name)
def test_names_of_metrics_follow_the_conventions_of_prometheus(family):
    assert re.fullmatch(r"taskflow_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.description.endswith(".")
    assert not {"tenant", "user", "token", "handle", "path"} & set(family.labels)


def test_memory_of_a_worker_is_bounded():
    assert 8 * definitions.registry.size < 131_072


def test_status_without_a_series_is_counted_as_other(recorded):
    definitions.record_request("admin", "TRACE", 299, 0.1)

    assert recorded("taskflow_requests_total") == [
        'taskflow_requests_total{operation="admin",method="other",status="other"} 1'
    ]


def test_operation_without_a_series_is_counted_as_other(recorded):
    definitions.record_request("nothing", "GET", 404, 0.1, code="not_listed")

    assert recorded("taskflow_requests_total") == [
        f'taskflow_requests_total{{operation="{OTHER}",method="GET",status="404"}} 1'
    ]
    assert f'taskflow_problems_total{{code="{OTHER}"}} 1' in recorded()


# ---- what requests record ------------------------------------------------------------------------


def test_request_is_counted_by_operation_method_and_status(recorded, fixtures):
    client = ApiClient(token_of(fixtures.ada))
    client.get("/tasks")
    client.head("/tasks")
    client.post("/tags", {"name": "x"})
    client.get("/nothing")

    assert recorded("taskflow_requests_total") == [
        'taskflow_requests_total{operation="create_tag",method="POST",status="201"} 1',
        'taskflow_requests_total{operation="list_tasks",method="GET",status="200"} 2',
        'taskflow_requests_total{operation="other",method="GET",status="404"} 1',
    ]


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/livez", "livez"),
        ("/readyz", "readyz"),
        ("/admin/login/", "admin"),
        ("/api/v1/docs", "docs"),
        ("/static/unfold/css/styles.css", "static"),
        ("/nothing", OTHER),
    ],
)
def test_page_is_counted_under_the_name_of_its_group(recorded, db, path, operation):
    Client().get(path).close()

    (line,) = recorded("taskflow_requests_total")
    assert f'operation="{operation}"' in line


def test_time_and_statements_of_a_request_are_recorded(recorded, fixtures):
    ApiClient(token_of(fixtures.ada)).get("/tasks", headers={"X-Request-Id": "a"})

    lines = dict(line.rsplit(" ", 1) for line in recorded())
    label = '{operation="list_tasks"}'
    assert lines[f"taskflow_request_duration_seconds_count{label}"] == "1"
    assert int(lines[f"taskflow_request_statements_total{label}"]) >= 2
    database = float(lines[f"taskflow_request_database_seconds_total{label}"])
    assert 0 < database < float(lines[f"taskflow_request_duration_seconds_sum{label}"])


@pytest.mark.django_db(transaction=True)
def test_request_that_takes_a_lock_is_observed(recorded):
    fixtures = build_fixtures()
    client = ApiClient(token_of(fixtures.ada))
    client.get("/tasks")  # stores when the token was last used
    definitions.registry.lay_out()
    client.get("/tasks")
    assert "taskflow_lock_wait_seconds_count 0" in recorded()

    assert client.patch("/tasks/APO-1", {"title": "new"}).status_code == 200

    assert "taskflow_lock_wait_seconds_count 1" in recorded()


@pytest.mark.django_db(transaction=True)
def test_wait_for_another_writer_is_measured(recorded, caplog):
    fixtures = build_fixtures()
    client = ApiClient(token_of(fixtures.ada))
    client.patch("/tasks/APO-1", {"title": "first"})
    caplog.set_level("INFO", logger="taskflow.request")
    caplog.clear()
    has_lock = threading.Event()

    def hold_the_row():
        try:
            with inside(fixtures.acme):
                Task.objects.select_for_update().get(pk=fixtures.task.pk)
                has_lock.set()
                time.sleep(0.3)
        finally:
            connection.close()

    other = threading.Thread(target=hold_the_row)
    other.start()
    assert has_lock.wait(10)
    assert client.patch("/tasks/APO-1", {"title": "second"}).status_code == 200
    other.join()

    (record,) = caplog.records
    assert record.lock_ms > 150
    assert record.ms >= record.lock_ms


def test_problem_is_counted_by_its_code(recorded, fixtures):
    client = ApiClient(token_of(fixtures.ada))
    client.get("/tasks?x=1")
    client.get("/tasks/999999")

    assert 'taskflow_problems_total{code="invalid"} 1' in recorded()
    assert 'taskflow_problems_total{code="not_found"} 1' in recorded()


def test_contended_transaction_is_counted_at_each_retry_by_its_cause(recorded):
    moved = Mock(side_effect=[Contended(), Contended(), "done"])

    assert run_with_retries(moved) == "done"

    assert 'taskflow_transaction_retries_total{cause="moved"} 2' in recorded()


class Deadlock(OperationalError):
    sqlstate = "40P01"


class DiskFull(OperationalError):
    sqlstate = "53100"


class LockTimeout(OperationalError):
    sqlstate = "55P03"


class Silent(OperationalError):
    sqlstate = causes.SILENT


class NoFreeConnection(OperationalError):
    sqlstate = causes.NO_FREE_CONNECTION


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Deadlock(), "deadlock"),
        (DiskFull(), "disk_full"),
        (LockTimeout(), "lock_timeout"),
        (OperationalError("database is locked"), "busy"),
        (OperationalError("database is locked: other writers took 5 seconds"), "busy"),
        (OperationalError("database or disk is full"), "disk_full"),
        (OperationalError("attempt to write a readonly database"), "read_only"),
        (Silent(), "silent"),
        (NoFreeConnection(), "no_free_connection"),
        (OperationalError("unknown"), OTHER),
        (Contended(), "moved"),
    ],
)
def test_error_of_the_database_has_a_cause(error, cause):
    assert cause_of(error) == cause


def test_deadlock_of_a_request_is_counted_as_a_retry_and_not_as_an_error(
    recorded, fixtures, monkeypatch
):
    monkeypatch.setattr(task_api, "task_response", Mock(side_effect=Deadlock()))

    r = ApiClient(token_of(fixtures.ada)).get(f"/tasks/{fixtures.task.pk}")

    assert (r.status_code, r.json()["code"]) == (503, "contended")
    assert 'taskflow_transaction_retries_total{cause="deadlock"} 2' in recorded()
    assert 'taskflow_problems_total{code="contended"} 1' in recorded()
    assert [x for x in recorded("taskflow_database_errors_total") if not x.endswith(" 0")] == []


def test_error_of_the_database_is_counted_by_its_cause(recorded, fixtures, monkeypatch):
    monkeypatch.setattr(task_api, "task_response", Mock(side_effect=DiskFull()))

    r = ApiClient(token_of(fixtures.ada)).get(f"/tasks/{fixtures.task.pk}")

    assert r.status_code >= 500
    assert 'taskflow_database_errors_total{cause="disk_full"} 1' in recorded()


def test_recording_needs_no_database_and_names_no_tenant(recorded, fixtures):
    client = ApiClient(token_of(fixtures.ada))
    client.get("/projects/APO")
    client.get("/users/@bob")

    text = write_text(definitions.registry, [definitions.registry.values])

    for secret in ("acme", "APO", "bob", "tf_"):
        assert secret not in text
