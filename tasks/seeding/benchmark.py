"""
Create millions of rows for benchmarks: tenants of very different sizes, each task with its event.

Users, projects, members and tags are created by the recorder. Tasks, with their tags and events,
are inserted CHUNK at a time by a few statements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.actions.tenants import create_tenant
from accounts.actions.tokens import issue_token
from accounts.models import Tenant, User
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Via
from taskflow.audit.recorder import create_all
from taskflow.db.batches import MAX_WAIT, pause_for_writers
from taskflow.db.text import search_text
from taskflow.tenancy import inside
from tasks.models import Project, ProjectMember, Role, Tag
from tasks.seeding.sqlite_statements import STATEMENTS

PREFIX = "bench"  # of the subdomains
USERS, PROJECTS, TAGS = 12, 6, 10  # per tenant
CHUNK = 20_000  # tasks per transaction
SQLITE_CHUNK = 2_000  # so that other writers do not wait for long
WORKERS = 2  # connections at the same time; the database server does most of the work
SKEW = 0.8  # the n-th tenant has n^0.8 times fewer tasks than the first

Progress = Callable[[int], None]

# Creates a task for each row of `planned`, with its event and up to two tags. The event has the
# values that the recorder would write; it takes them from RETURNING.
FILL_STATEMENT = """
WITH planned AS MATERIALIZED (
  SELECT n, nextval(pg_get_serial_sequence('tasks_task', 'id')) AS id,
         %(now)s::timestamptz - make_interval(secs => (%(last)s - n) * 7) AS at,
         CASE WHEN n %% 10 < 6 THEN 'done' WHEN n %% 10 < 8 THEN 'todo' ELSE 'in_progress' END
           AS status,
         (%(verbs)s::text[])[1 + n %% 8] || ' ' || (%(objects)s::text[])[1 + n * 7 %% 11]
           || ' ' || n AS title
  FROM generate_series(%(first)s::int, %(last)s::int) AS n
), tasks AS (
  INSERT INTO tasks_task (id, tenant_id, project_id, number, title, title_folded, title_words,
    description, description_words, status, priority, assignee_id, created_by_id, parent_id,
    due_on, links, metadata, version, outcome, completed_at, created_at,
    updated_at)
  SELECT id, %(tenant)s, %(project)s, n, title, lower(title), ' ' || lower(title) || ' ',
    (%(texts)s::text[])[1 + n %% 5], (%(text_words)s::text[])[1 + n %% 5], status,
    (ARRAY['low', 'medium', 'high'])[1 + n * 5 %% 3],
    CASE WHEN n %% 4 > 0 THEN (%(users)s::bigint[])[1 + n * 3 %% %(users_count)s] END,
    (%(users)s::bigint[])[1 + n %% %(users_count)s],
    CASE WHEN n %% 20 = 0 THEN lag(id) OVER (ORDER BY n) END,
    CASE WHEN n %% 3 = 0 THEN (at + make_interval(days => n %% 40))::date END,
    '[]', '{}', 1, CASE WHEN status = 'done' THEN 'completed' END,
    CASE WHEN status = 'done' THEN at + interval '1 hour' END, at, at
  FROM planned
  RETURNING id, number, title, description, status, outcome, priority, assignee_id, created_by_id,
    parent_id, due_on, completed_at, created_at
), counted AS (
  INSERT INTO tasks_taskcountdelta (tenant_id, project_id, todo, in_progress, done, cancelled)
  SELECT %(tenant)s, %(project)s, count(*) FILTER (WHERE status = 'todo'),
    count(*) FILTER (WHERE status = 'in_progress'), count(*) FILTER (WHERE status = 'done'), 0
  FROM tasks
), tagged AS (
  INSERT INTO tasks_tasktag (tenant_id, task_id, tag_id)
  SELECT %(tenant)s, id, (%(tags)s::bigint[])[1 + (number + k) %% %(tags_count)s]
  FROM tasks, generate_series(1, 2) AS k WHERE k <= number %% 3
), recorded AS (
  INSERT INTO audit_event (tenant_id, actor_id, via, request_id, reason, verb, subject_type,
    subject_id, version, project_id, changes, created_at)
  SELECT %(tenant)s, created_by_id, 'command', '', '', 'created', 'task', id, 1, %(project)s,
    jsonb_strip_nulls(jsonb_build_object('project', jsonb_build_array(NULL, %(project)s::bigint),
      'number', jsonb_build_array(NULL, number), 'title', jsonb_build_array(NULL, title),
      'description', CASE WHEN description <> '' THEN jsonb_build_array(NULL, description) END,
      'status', jsonb_build_array(NULL, status), 'priority', jsonb_build_array(NULL, priority),
      'outcome', CASE WHEN outcome IS NOT NULL THEN jsonb_build_array(NULL, outcome) END,
      'assignee', CASE WHEN assignee_id IS NOT NULL THEN jsonb_build_array(NULL, assignee_id) END,
      'created_by', jsonb_build_array(NULL, created_by_id),
      'parent', CASE WHEN parent_id IS NOT NULL THEN jsonb_build_array(NULL, parent_id) END,
      'due_on', CASE WHEN due_on IS NOT NULL THEN jsonb_build_array(NULL, due_on) END,
      'completed_at', CASE WHEN completed_at IS NOT NULL THEN jsonb_build_array(NULL,
        to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')) END,
      'tags', CASE WHEN number %% 3 > 0 THEN jsonb_build_array('[]'::jsonb, (
        SELECT jsonb_agg(tag ORDER BY tag) FROM (
          SELECT (%(tags)s::bigint[])[1 + (number + k) %% %(tags_count)s] AS tag
          FROM generate_series(1, 2) AS k WHERE k <= number %% 3) AS chosen)) END)),
    created_at
  FROM tasks
)
SELECT count(*) FROM tasks
"""
VERBS = ["Fix", "Write", "Plan", "Review", "Ship", "Measure", "Remove", "Ask about"]
OBJECTS = [
    "the importer", "the invoice", "search", "the report", "the pump", "login", "the contract",
    "the schedule", "backups", "the label", "the sensor",
]  # fmt: skip
TEXTS = ["Why, how and until when. " * number for number in range(5)]


@dataclass
class BenchmarkTenant:
    """The rows of a benchmark tenant that its tasks refer to."""

    actor: Actor
    users: Sequence[User]
    projects: Sequence[Project]
    tags: Sequence[Tag]
    token: str


def is_benchmark_seeded() -> bool:
    return Tenant.objects.filter(subdomain__startswith=f"{PREFIX}-").exists()


def seed_benchmark(tenants: int, tasks: int, progress: Progress) -> list[tuple[Tenant, str]]:
    """Create the tenants with their tasks. Return each with the text of its administrator's token.

    Each CHUNK of tasks is a transaction of its own, so that no transaction writes millions of rows.
    `progress` is called with numbers of created tasks.
    """
    workers = WORKERS if connection.vendor == "postgresql" else 1
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_seed_tenant, number, share, progress)
            for number, share in enumerate(split_tasks(tenants, tasks))
        ]
        created = [job.result() for job in jobs]
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("ANALYZE")
    return created


def _seed_tenant(number: int, tasks: int, progress: Progress) -> tuple[Tenant, str]:
    try:
        benchmark = _create_tenant_without_tasks(number)
        for index, project in enumerate(benchmark.projects):
            _create_tasks(
                benchmark, project, tasks // PROJECTS + (index < tasks % PROJECTS), progress
            )
        return benchmark.actor.tenant, benchmark.token
    finally:
        connection.close()  # each thread has a connection of its own


def split_tasks(tenants: int, tasks: int) -> list[int]:
    """Return the number of tasks of each tenant. The first has the most; their sum is `tasks`."""
    weights = [(n + 1) ** -SKEW for n in range(tenants)]
    rough = [int(tasks * w / sum(weights)) for w in weights]
    return [rough[0] + tasks - sum(rough), *rough[1:]]


def _create_tenant_without_tasks(number: int) -> BenchmarkTenant:
    tenant = Tenant(name=f"Benchmark {number}", subdomain=f"{PREFIX}-{number}")
    administrator = User(
        handle="administrator", email=f"administrator@{tenant.subdomain}.example", is_staff=True
    )
    with transaction.atomic():
        actor = create_tenant(tenant, administrator, password=None, via=Via.COMMAND)
        with inside(tenant):
            users = create_all(actor, [_build_user(tenant, n) for n in range(USERS)])
            projects = create_all(actor, [_build_project(n, users[n]) for n in range(PROJECTS)])
            create_all(actor, [_build_member(p, u) for p in projects for u in users], "joined")
            tags = create_all(actor, [Tag(name=f"tag-{n}", color=None) for n in range(TAGS)])
            _, token = issue_token(actor, administrator, "benchmark", TokenScope.ADMIN, None)
    return BenchmarkTenant(actor, users, projects, tags, token)


def _build_user(tenant: Tenant, number: int) -> User:
    handle = f"user-{number}"
    user = User(handle=handle, email=f"{handle}@{tenant.subdomain}.example", full_name=handle)
    user.set_unusable_password()
    return user


def _build_project(number: int, owner: User) -> Project:
    return Project(key="PRJ" + chr(ord("A") + number), name=f"Project {number}", owner=owner)


def _build_member(project: Project, user: User) -> ProjectMember:
    is_owner = user.pk == project.owner_id
    return ProjectMember(project=project, user=user, role=Role.OWNER if is_owner else Role.MEMBER)


def _create_tasks(
    benchmark: BenchmarkTenant, project: Project, count: int, progress: Progress
) -> None:
    chunk = SQLITE_CHUNK if connection.vendor == "sqlite" else CHUNK
    for done in range(0, count, chunk):
        amount = min(chunk, count - done)
        with inside(benchmark.actor.tenant, max_wait=MAX_WAIT):
            first = Project.reserve_numbers({project.pk: amount})[project.pk]
            values = _statement_parameters(benchmark, project, first, amount)
            if connection.vendor == "postgresql":
                _fill_by_one_statement(values)
            else:
                _fill_by_statements(values)
        progress(amount)
        pause_for_writers()


def _statement_parameters(
    benchmark: BenchmarkTenant, project: Project, first: int, count: int
) -> dict[str, Any]:
    return {
        "tenant": benchmark.actor.tenant.pk,
        "project": project.pk,
        "first": first,
        "last": first + count - 1,
        "now": timezone.now().replace(microsecond=0),
        "users": [user.pk for user in benchmark.users],
        "users_count": len(benchmark.users),
        "tags": [tag.pk for tag in benchmark.tags],
        "tags_count": len(benchmark.tags),
        "verbs": VERBS,
        "objects": OBJECTS,
        "texts": TEXTS,
        "text_words": [search_text(text) for text in TEXTS],
    }


def _fill_by_one_statement(values: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(FILL_STATEMENT, values)


def _fill_by_statements(values: dict[str, Any]) -> None:
    """Create the tasks on SQLite, which has no arrays: they are passed as JSON.

    Times have whole seconds, and no fraction, as Django writes them.
    """
    lists = {name: json.dumps(v) for name, v in values.items() if isinstance(v, list)}
    now = values["now"].strftime("%Y-%m-%d %H:%M:%S")
    for statement in STATEMENTS:
        connection.connection.execute(statement, values | lists | {"now": now})
