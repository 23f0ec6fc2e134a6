"""All metrics that workers record. docs/monitoring.md explains them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from taskflow.metrics.families import OTHER, Counter, Family, Gauge, Histogram, Registry
from taskflow.metrics.timing import Timings

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
READ_AS = {"HEAD": "GET"}
STATUSES = (
    *("200", "201", "202", "204", "301", "302", "304"),
    *("400", "401", "403", "404", "405", "408", "409", "410", "411", "412", "413", "415", "422"),
    "429",
    *("500", "503", "507"),
)
# Requests that no operation of the API answers: "other" are those for unknown URLs.
PAGES = ("admin", "docs", "livez", "mcp", "readyz", "static")
NOT_BEGUN = "not_begun"  # refused by the front before the application has received them
LANES = ("work", "sign_in", "probe")
RETRY_CAUSES = ("deadlock", "serialization", "busy", "prepared_statement", "moved")
DATABASE_CAUSES = (
    "busy",
    "lock_timeout",
    "statement_timeout",
    "read_only",
    "disk_full",
    "resources",
    "connection",
    "silent",
    "no_free_connection",
)
# Seconds. Most requests take some milliseconds; deadlines are at 1, 3 and 5 seconds.
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WEBHOOK_RESULTS = ("delivered", "refused", "unanswered", "withheld")
WEBHOOK_DURATIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
WEBHOOK_DELAYS = (0.1, 0.5, 1.0, 2.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0, 86_400.0)
# The timed tasks of tasks/scheduled/registry.py.
SCHEDULED_TASKS = (
    "purge_trash",
    "purge_tenants",
    "purge_expired",
    "purge_events",
    "make_notifications",
    "send_digests",
)
WAITS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUESTS = Counter(
    "taskflow_requests_total",
    "Answered requests. A HEAD counts as GET.",
    ("operation", "method", "status"),
    hides_unused=True,
)
DURATION = Histogram(
    "taskflow_request_duration_seconds",
    "Time from a complete request to its response, the wait for a thread included.",
    ("operation",),
    bounds=DURATIONS,
    hides_unused=True,
)
DATABASE_TIME = Counter(
    "taskflow_request_database_seconds_total",
    "Time in which requests waited for the database.",
    ("operation",),
    hides_unused=True,
)
STATEMENTS = Counter(
    "taskflow_request_statements_total",
    "Statements that requests sent to the database.",
    ("operation",),
    hides_unused=True,
)
PROBLEMS = Counter(
    "taskflow_problems_total",
    "Requests that were refused or failed, by the code of the problem.",
    ("code",),
)
QUEUE = Histogram(
    "taskflow_queue_seconds",
    "Time that complete requests waited for a thread.",
    ("lane",),
    (LANES,),
    bounds=WAITS,
    has_other=False,
)
LOCK_WAIT = Histogram(
    "taskflow_lock_wait_seconds",
    "Time of one request for row locks, or for the single writer of SQLite. Only of requests that"
    " took any lock.",
    bounds=WAITS,
)
RETRIES = Counter(
    "taskflow_transaction_retries_total",
    "Transactions that were rolled back and run again, by cause.",
    ("cause",),
    (RETRY_CAUSES,),
)
DATABASE_ERRORS = Counter(
    "taskflow_database_errors_total",
    "Errors of the database that ended a request, by cause. Not those after which it is run again.",
    ("cause",),
    (DATABASE_CAUSES,),
)
ABANDONED = Counter(
    "taskflow_requests_abandoned_total",
    "Requests that were not begun because their clients had closed the connection.",
)
FREEZES = Counter("taskflow_freezes_total", "How often a worker did not run for a second or more.")
FROZEN = Counter("taskflow_frozen_seconds_total", "Time in which a worker did not run.")
IN_FLIGHT = Gauge(
    "taskflow_requests_in_flight",
    "Requests that a thread answers now.",
    ("lane",),
    (LANES,),
    has_other=False,
)
WAITING = Gauge(
    "taskflow_requests_waiting",
    "Complete requests that wait for a thread.",
    ("lane",),
    (LANES,),
    has_other=False,
)
HELD = Gauge(
    "taskflow_requests_held",
    "Requests that wait for commits: long polls and streams. They need no thread.",
)
WAKE = Histogram(
    "taskflow_wake_seconds",
    "Time from the moment in which a worker learns of a commit to the answer of a request that has"
    " waited for it.",
    bounds=WAITS,
)
INCOMPLETE_BODIES = Gauge("taskflow_incomplete_bodies", "Requests whose bodies are on their way.")
BODY_BYTES = Gauge("taskflow_body_bytes_held", "Bytes of the bodies of unanswered requests.")
DATABASE_CONNECTIONS = Gauge(
    "taskflow_database_connections", "Connections to the database that threads hold."
)
WEBHOOK_ATTEMPTS = Counter(
    "taskflow_webhook_attempts_total",
    "Attempts to send a delivery, by result.",
    ("result",),
    (WEBHOOK_RESULTS,),
)
WEBHOOK_DURATION = Histogram(
    "taskflow_webhook_attempt_seconds",
    "Time of an attempt, until the receiver has answered or the attempt was given up.",
    bounds=WEBHOOK_DURATIONS,
)
WEBHOOK_DELAY = Histogram(
    "taskflow_webhook_delay_seconds",
    "Time from noticing an event until its receiver has accepted it, with all retries.",
    bounds=WEBHOOK_DELAYS,
)
SCHEDULED_RUNS = Counter(
    "taskflow_scheduled_runs_total",
    "Runs of the timed tasks, by task and result.",
    ("task", "result"),
    (SCHEDULED_TASKS, ("succeeded", "failed")),
    has_other=False,
)
SCHEDULED_SECONDS = Counter(
    "taskflow_scheduled_seconds_total",
    "Time in which timed tasks were run.",
    ("task",),
    (SCHEDULED_TASKS,),
    has_other=False,
)

FAMILIES: Sequence[Family] = (
    REQUESTS,
    DURATION,
    DATABASE_TIME,
    STATEMENTS,
    PROBLEMS,
    QUEUE,
    LOCK_WAIT,
    RETRIES,
    DATABASE_ERRORS,
    ABANDONED,
    FREEZES,
    FROZEN,
    IN_FLIGHT,
    WAITING,
    HELD,
    WAKE,
    INCOMPLETE_BODIES,
    BODY_BYTES,
    DATABASE_CONNECTIONS,
    WEBHOOK_ATTEMPTS,
    WEBHOOK_DURATION,
    WEBHOOK_DELAY,
    SCHEDULED_RUNS,
    SCHEDULED_SECONDS,
)
registry = Registry(FAMILIES)


def define_series(operations: Mapping[str, Sequence[str]], codes: Iterable[str]) -> None:
    """Lay the memory out for the operations, each with its methods, and the codes of problems.

    All values become 0. The order of the arguments does not matter, so that all workers have the
    same layout.
    """
    methods = {
        **{name: sorted(operations[name]) for name in sorted(operations)},
        **dict.fromkeys((*PAGES, NOT_BEGUN, OTHER), (*METHODS, OTHER)),
    }
    statuses = (*STATUSES, OTHER)
    REQUESTS.set_series(
        [series for name in methods for series in product((name,), methods[name], statuses)]
    )
    for family in (DURATION, DATABASE_TIME, STATEMENTS):
        family.set_series([(name,) for name in methods])
    PROBLEMS.set_label_values((sorted(codes),))
    registry.lay_out()


def record_request(
    operation: str,
    method: str,
    status: int,
    seconds: float,
    code: str | None = None,
    use: Timings | None = None,
) -> None:
    """Count one answered request, which has taken so many seconds.

    `code` is that of its problem, None if it has none. `use` is what it has spent on the database.
    """
    label, values = (operation,), registry.values
    with registry.lock:
        values[REQUESTS.offsets[operation, READ_AS.get(method, method), str(status)]] += 1.0
        DURATION.add_to(values, seconds, label)
        if code is not None:
            values[PROBLEMS.offsets[(code,)]] += 1.0
        if use is None:
            return
        values[DATABASE_TIME.offsets[label]] += use.database
        values[STATEMENTS.offsets[label]] += use.statements
        if use.lock_wait:
            LOCK_WAIT.add_to(values, use.lock_wait, ())
