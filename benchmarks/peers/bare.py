"""The limit, without a framework: granian's RSGI, asyncpg and one SQL statement per request.

The statement authenticates, checks the membership, does the work and builds the whole response as
JSON. Each returns (is authenticated, is allowed, response).
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from typing import Any
from urllib.parse import parse_qs

import asyncpg
from pydantic import ValidationError

from benchmarks.peers.documents import (
    PAGE,
    TaskBulk,
    TaskCreate,
    TaskUpdate,
    read_token,
    searched,
    text_query,
)
from benchmarks.peers.settings import CONNECTIONS, DATABASE_URL
from taskflow.db.text import fold_key, search_text

# ---- statements ---------------------------------------------------------------------------------

AUTH = """
auth AS (
  SELECT u.id AS user_id, u.tenant_id
  FROM accounts_apitoken k JOIN accounts_user u
    ON u.tenant_id = k.tenant_id AND u.id = k.user_id
  WHERE k.tenant_id = $1 AND k.digest = $2 AND k.revoked_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
), mine AS (
  SELECT auth.tenant_id, auth.user_id, m.role, p.id, p.key
  FROM auth
  JOIN tasks_projectmember m ON m.tenant_id = auth.tenant_id AND m.user_id = auth.user_id
  JOIN tasks_project p
    ON p.tenant_id = m.tenant_id AND p.id = m.project_id AND p.deleted_at IS NULL
)"""
USER = "SELECT u.id, u.handle, u.full_name, u.email, u.kind, u.responsible_id FROM accounts_user u"


def document(source: str) -> str:
    """The task documents of the rows of `source`, a table or part of the statement."""
    return f"""
SELECT t.id, p.key || '-' || t.number AS key, t.number, t.project_id, t.title, t.description,
  t.status, t.outcome, t.status = 'done' AS completed,
  t.status <> 'done' AND NOT coalesce(b.is_open, false) AS ready, t.priority,
  t.assignee_id, (SELECT to_json(r) FROM ({USER}
    WHERE u.tenant_id = t.tenant_id AND u.id = t.assignee_id) r) AS assignee, t.created_by_id,
  (SELECT to_json(r) FROM ({USER}
    WHERE u.tenant_id = t.tenant_id AND u.id = t.created_by_id) r) AS created_by,
  t.parent_id, coalesce(b.ids, '[]') AS blocked_by, coalesce(g.tags, '[]') AS tags,
  t.due_date, t.due_on, t.links, t.metadata, t.external_ref, t.version, t.completed_at,
  t.created_at, t.updated_at, t.last_activity_at
FROM {source} t
JOIN tasks_project p ON p.tenant_id = t.tenant_id AND p.id = t.project_id
LEFT JOIN LATERAL (
  SELECT json_agg(r) AS tags FROM (
    SELECT g.id, g.name, g.color FROM tasks_tasktag l
    JOIN tasks_tag g ON g.tenant_id = l.tenant_id AND g.id = l.tag_id
    WHERE l.tenant_id = t.tenant_id AND l.task_id = t.id ORDER BY g.name, g.id
  ) r
) g ON true
LEFT JOIN LATERAL (
  SELECT json_agg(o.id ORDER BY o.id) AS ids, bool_or(o.status <> 'done') AS is_open
  FROM tasks_taskblocker l
  JOIN tasks_task o
    ON o.tenant_id = l.tenant_id AND o.id = l.blocker_id AND o.deleted_at IS NULL
  WHERE l.tenant_id = t.tenant_id AND l.task_id = t.id
) b ON true"""  # noqa: S608 - of constants


def statement(parts: str, allowed: str, found: str) -> str:
    return (
        f"WITH {AUTH}{parts}\n"
        f"SELECT EXISTS (SELECT FROM auth) AS known, {allowed} AS allowed, ({found}) AS document"
    )


def page(rows: str) -> str:
    """A page of `rows`, which are one more than the page has, if there are more."""
    return f"""
SELECT json_build_object(
  'data', coalesce(json_agg(d) FILTER (WHERE n <= {PAGE}), '[]'),
  'next_cursor', CASE WHEN count(*) > {PAGE} THEN (min(id) FILTER (WHERE n <= {PAGE}))::text END,
  'has_more', count(*) > {PAGE}, 'count', NULL)::text
FROM (SELECT d, d.id, row_number() OVER (ORDER BY d.id DESC) AS n FROM ({rows}) d) numbered"""  # noqa: S608 - of constants


def list_statement(by_project: bool, by_status: bool, by_words: bool, by_cursor: bool) -> str:
    conditions, number = [], 3
    if by_project:
        conditions.append(f"t.project_id = ${number}")
    for given, condition in (
        (by_project, "EXISTS (SELECT FROM mine WHERE id = ${}::bigint)"),
        (by_status, "t.status = ${}::varchar"),
        (by_words, "t.search @@ ${}::text::tsquery"),
        (by_cursor, "t.id < ${}::bigint"),
    ):
        if given:
            conditions.append(condition.format(number))
            number += 1
    if not by_project:
        # as an array, or the full-text index would be read once for each project
        conditions.append("t.project_id = ANY (ARRAY(SELECT id FROM mine))")
    allowed = "EXISTS (SELECT FROM mine WHERE id = $3)" if by_project else "true"
    rows = f"""
, page AS MATERIALIZED (
  SELECT * FROM tasks_task t
  WHERE t.tenant_id = $1 AND t.deleted_at IS NULL AND {" AND ".join(conditions)}
  ORDER BY t.id DESC LIMIT {PAGE + 1}
)"""  # noqa: S608 - of constants
    return statement(rows, allowed, page(document("page")))


YES_OR_NO = (False, True)
LISTS = {
    (p, s, w, c): list_statement(p, s, w, c)
    for p in YES_OR_NO
    for s in YES_OR_NO
    for w in YES_OR_NO
    for c in YES_OR_NO
}
ONE = statement(
    """
, one AS (
  SELECT t.* FROM tasks_task t JOIN mine ON mine.id = t.project_id
  WHERE t.tenant_id = $1 AND t.id = $3 AND t.deleted_at IS NULL
)""",
    "true",
    f"SELECT to_json(d)::text FROM ({document('one')}) d",  # noqa: S608 - of constants
)
PROJECTS = statement(
    "",
    "true",
    page(
        f"""
SELECT p.id, p.key, p.name, p.description, p.status, p.metadata, p.owner_id,
  (SELECT to_json(r) FROM ({USER}
    WHERE u.tenant_id = p.tenant_id AND u.id = p.owner_id) r) AS owner, mine.role,
  (SELECT to_json(r) FROM (
    SELECT count(*) FILTER (WHERE t.status = 'todo') AS todo,
      count(*) FILTER (WHERE t.status = 'in_progress') AS in_progress,
      count(*) FILTER (WHERE t.outcome = 'completed') AS done,
      count(*) FILTER (WHERE t.outcome = 'cancelled') AS cancelled
    FROM tasks_task t
    WHERE t.tenant_id = mine.tenant_id AND t.project_id = p.id AND t.deleted_at IS NULL
  ) r) AS task_counts, p.version, p.created_at, p.updated_at
FROM mine JOIN tasks_project p ON p.tenant_id = mine.tenant_id AND p.id = mine.id
ORDER BY p.id DESC LIMIT {PAGE + 1}"""  # noqa: S608 - of constants
    ),
)
BORN = """
, recorded AS (
  INSERT INTO audit_event (tenant_id, actor_id, via, request_id, reason, verb, subject_type,
    subject_id, version, project_id, changes, created_at)
  SELECT tenant_id, created_by_id, 'api', '', '', 'created', 'task', id, 1, project_id,
    jsonb_build_object('project', jsonb_build_array(NULL, project_id),
      'number', jsonb_build_array(NULL, number), 'title', jsonb_build_array(NULL, title),
      'description', jsonb_build_array(NULL, description),
      'status', jsonb_build_array(NULL, status), 'priority', jsonb_build_array(NULL, priority),
      'assignee', jsonb_build_array(NULL, assignee_id)), now()
  FROM made
)"""
COLUMNS = """tenant_id, project_id, number, title, description, status, priority, assignee_id,
    created_by_id, links, metadata, version, created_at, updated_at, title_folded, title_words,
    description_words"""
# $3 project, $4 title, $5 description, $6 priority, $7 assignee, $8 to $10 searched()
CREATE = statement(
    f"""
, numbered AS (
  UPDATE tasks_project p SET last_number = p.last_number + 1 FROM mine
  WHERE p.tenant_id = $1 AND p.id = $3 AND mine.id = p.id AND ($7::bigint IS NULL OR EXISTS (
    SELECT FROM tasks_projectmember m
    WHERE m.tenant_id = $1 AND m.user_id = $7 AND m.project_id = $3))
  RETURNING p.last_number
), made AS (
  INSERT INTO tasks_task ({COLUMNS})
  SELECT tenant_id, $3, last_number, $4, $5, 'todo', $6, $7, user_id, '[]', '{{}}', 1, now(),
    now(), $8, $9, $10
  FROM auth, numbered
  RETURNING *
){BORN}""",  # noqa: S608 - of constants
    "EXISTS (SELECT FROM made)",
    f"SELECT to_json(d)::text FROM ({document('made')}) d",  # noqa: S608 - of constants
)
# $3 project, $4 title, $5 description, $6 priority, $7 assignee, $8 to $10 searched() of each
BULK = statement(
    f"""
, sent AS MATERIALIZED (
  SELECT * FROM unnest($3::bigint[], $4::varchar[], $5::text[], $6::varchar[], $7::bigint[],
      $8::text[], $9::text[], $10::text[])
    WITH ORDINALITY AS a(project_id, title, description, priority, assignee_id, title_folded,
      title_words, description_words, n)
), new_counts AS (
  SELECT project_id, count(*) AS count FROM sent GROUP BY project_id
), numbers AS (
  UPDATE tasks_project p SET last_number = p.last_number + w.count FROM new_counts w
  WHERE p.tenant_id = $1 AND p.id = w.project_id AND NOT EXISTS (
    SELECT FROM sent a
    WHERE a.project_id NOT IN (SELECT id FROM mine) OR a.assignee_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM tasks_projectmember m WHERE m.tenant_id = $1 AND m.user_id = a.assignee_id
        AND m.project_id = a.project_id))
  RETURNING p.id, p.last_number - w.count AS before
), planned AS MATERIALIZED (
  SELECT a.*, numbers.before + row_number() OVER (PARTITION BY a.project_id ORDER BY a.n) AS number,
    nextval(pg_get_serial_sequence('tasks_task', 'id')) AS id
  FROM sent a JOIN numbers ON numbers.id = a.project_id
), made AS (
  INSERT INTO tasks_task (id, {COLUMNS})
  SELECT p.id, tenant_id, project_id, number, title, description, 'todo', priority, assignee_id,
    user_id, '[]', '{{}}', 1, now(), now(), title_folded, title_words, description_words
  FROM auth, planned p
  RETURNING *
){BORN}""",  # noqa: S608 - of constants
    "EXISTS (SELECT FROM made)",
    f"""
SELECT json_build_object('succeeded', count(*), 'skipped', 0, 'tasks_left_out', 0,
  'results', json_agg(
  json_build_object('index', p.n - 1, 'ok', true, 'id', d.id, 'task', d, 'problem', NULL)
  ORDER BY p.n))::text
FROM ({document("made")}) d JOIN planned p ON p.id = d.id""",  # noqa: S608 - of constants
)
# $3 task, $4 title, $5 priority, $6 status, $7 whether there is an assignee, $8 the assignee, $9
# and $10 the folded title and its words
UPDATE = statement(
    """
, old AS (
  SELECT t.* FROM tasks_task t JOIN mine ON mine.id = t.project_id
  WHERE t.tenant_id = $1 AND t.id = $3 AND t.deleted_at IS NULL AND (
    $8::bigint IS NULL OR EXISTS (SELECT FROM tasks_projectmember m WHERE m.tenant_id = $1
      AND m.user_id = $8 AND m.project_id = t.project_id))
  FOR UPDATE OF t
), new AS (
  UPDATE tasks_task t SET title = coalesce($4::varchar, t.title),
    priority = coalesce($5::varchar, t.priority), status = coalesce($6::varchar, t.status),
    assignee_id = CASE WHEN $7::boolean THEN $8 ELSE t.assignee_id END,
    completed_at = CASE WHEN coalesce($6, t.status) = 'done'
      THEN coalesce(t.completed_at, now()) END,
    outcome = CASE WHEN coalesce($6, t.status) = 'done' THEN coalesce(t.outcome, 'completed') END,
    title_folded = coalesce($9::text, t.title_folded),
    title_words = coalesce($10::text, t.title_words),
    version = t.version + 1, updated_at = now()
  FROM old
  WHERE t.tenant_id = $1 AND t.id = old.id AND (coalesce($4, t.title), coalesce($5, t.priority),
      coalesce($6, t.status), CASE WHEN $7 THEN $8 ELSE t.assignee_id END)
    IS DISTINCT FROM (t.title, t.priority, t.status, t.assignee_id)
  RETURNING t.*
), recorded AS (
  INSERT INTO audit_event (tenant_id, actor_id, via, request_id, reason, verb, subject_type,
    subject_id, version, project_id, changes, created_at)
  SELECT new.tenant_id, auth.user_id, 'api', '', '', 'changed', 'task', new.id, new.version,
    new.project_id, jsonb_strip_nulls(jsonb_build_object(
      'title', CASE WHEN new.title <> old.title
        THEN jsonb_build_array(old.title, new.title) END,
      'priority', CASE WHEN new.priority <> old.priority
        THEN jsonb_build_array(old.priority, new.priority) END,
      'status', CASE WHEN new.status <> old.status
        THEN jsonb_build_array(old.status, new.status) END,
      'assignee', CASE WHEN new.assignee_id IS DISTINCT FROM old.assignee_id
        THEN jsonb_build_array(old.assignee_id, new.assignee_id) END)), now()
  FROM new, old, auth
), result AS (
  SELECT * FROM new UNION ALL SELECT * FROM old WHERE NOT EXISTS (SELECT FROM new)
)""",
    "EXISTS (SELECT FROM old)",
    f"SELECT to_json(d)::text FROM ({document('result')}) d",  # noqa: S608 - of constants
)

# ---- the server ---------------------------------------------------------------------------------

HEADERS = [("content-type", "application/json")]
TASKS, BULK_PATH, PROJECTS_PATH = "/api/v1/tasks", "/api/v1/tasks/bulk", "/api/v1/projects"


async def keep_as_it_is(connection: Any) -> None:
    """Nothing of a request stays on its connection, so there is nothing to reset."""


class App:
    pool: Any

    def __rsgi_init__(self, loop: AbstractEventLoop) -> None:
        loop.run_until_complete(self.connect())

    async def connect(self) -> None:
        self.pool = await asyncpg.create_pool(
            DATABASE_URL,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            reset=keep_as_it_is,
            # Planning one of these takes as long as running it; no plan depends on the values.
            server_settings={"timezone": "UTC", "plan_cache_mode": "force_generic_plan"},
        )

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        token = (scope.headers.get("authorization") or "").removeprefix("Bearer ")
        tenant_id, digest = read_token(token)
        try:
            sql, values = await self.plan(scope, protocol, tenant_id)
        except (ValidationError, ValueError) as error:
            protocol.response_str(422, HEADERS, f'{{"detail": "{type(error).__name__}"}}')
            return
        row = await self.pool.fetchrow(sql, tenant_id, digest, *values)
        if not row["known"]:
            protocol.response_str(401, HEADERS, '{"detail": "Unauthorized"}')
        elif not row["allowed"] or row["document"] is None:
            protocol.response_str(404, HEADERS, '{"detail": "Not found"}')
        else:
            protocol.response_str(201 if sql is CREATE else 200, HEADERS, row["document"])

    async def plan(self, scope: Any, protocol: Any, tenant_id: int) -> tuple[str, list[Any]]:
        """The statement that answers the request, and its values from $3 on."""
        method, path = scope.method, scope.path
        if method == "GET" and path == TASKS:
            return plan_list(scope.query_string, tenant_id)
        if method == "GET" and path == PROJECTS_PATH:
            return PROJECTS, []
        if method == "GET":
            return ONE, [int(path.removeprefix(f"{TASKS}/"))]
        body = await protocol()
        if method == "PATCH":
            return plan_update(int(path.removeprefix(f"{TASKS}/")), body)
        if path == BULK_PATH:
            tasks = [o.data for o in TaskBulk.model_validate_json(body).operations]
            columns = zip(*(created_values(task) for task in tasks), strict=True)
            return BULK, [list(column) for column in columns]
        return CREATE, created_values(TaskCreate.model_validate_json(body))


def plan_list(query: str, tenant_id: int) -> tuple[str, list[Any]]:
    given = {name: values[0] for name, values in parse_qs(query).items()}
    values = [
        int(given["project"]) if "project" in given else None,
        given.get("status"),
        text_query(tenant_id, given["q"]) if "q" in given else None,
        int(given["cursor"]) if "cursor" in given else None,
    ]
    sql = LISTS[tuple(value is not None for value in values)]  # type: ignore[index]
    return sql, [value for value in values if value is not None]


def plan_update(task_id: int, body: bytes) -> tuple[str, list[Any]]:
    sent = TaskUpdate.model_validate_json(body).sent()
    names = ("title", "priority", "status")
    has_assignee = "assignee_id" in sent
    title = sent.get("title")
    folded = (None, None) if title is None else (fold_key(title), search_text(title))
    return UPDATE, [task_id, *map(sent.get, names), has_assignee, sent.get("assignee_id"), *folded]


def created_values(task: TaskCreate) -> list[Any]:
    row = [task.project_id, task.title, task.description, task.priority, task.assignee_id]
    return [*row, *searched(task.title, task.description).values()]


app = App()
