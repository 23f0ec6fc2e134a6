"""The statements of the bare stack, one for each request.

Each authenticates, checks the membership, does the work and builds the whole response as JSON. It
returns (is authenticated, is allowed, response). $1 is the tenant, $2 the digest of the token.
"""

from __future__ import annotations

from itertools import combinations

from benchmarks.peers.documents import PAGE

AUTH = """
auth AS (
  SELECT u.id AS user_id, u.tenant_id
  FROM accounts_apitoken k JOIN accounts_user u
    ON u.tenant_id = k.tenant_id AND u.id = k.user_id
  WHERE k.tenant_id = $1 AND k.digest = $2 AND k.revoked_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
), mine AS (
  SELECT auth.tenant_id, auth.user_id, m.role, p.id, p.key, p.status
  FROM auth
  JOIN tasks_projectmember m ON m.tenant_id = auth.tenant_id AND m.user_id = auth.user_id
  JOIN tasks_project p
    ON p.tenant_id = m.tenant_id AND p.id = m.project_id AND p.deleted_at IS NULL
)"""
USER = "SELECT u.id, u.handle, u.full_name, u.email, u.kind, u.responsible_id FROM accounts_user u"


IS_ACTIVE = "t.project_id = ANY (ARRAY(SELECT id FROM mine WHERE status <> 'archived'))"
BLOCKING = """SELECT FROM tasks_taskblocker l
    JOIN tasks_task o
      ON o.tenant_id = l.tenant_id AND o.id = l.blocker_id AND o.deleted_at IS NULL
    WHERE l.tenant_id = t.tenant_id AND l.task_id = t.id AND o.status <> 'done'"""


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


def bulk_response(rows: str, sent: str) -> str:
    """Return the SELECT of the response for the CTE `rows`, in the order of the CTE `sent`."""
    return f"""
SELECT json_build_object('succeeded', count(*), 'skipped', 0, 'tasks_left_out', 0,
  'results', json_agg(
  json_build_object('index', s.n - 1, 'ok', true, 'id', d.id, 'key', d.key,
    'task', d, 'problem', NULL)
  ORDER BY s.n))::text
FROM ({document(rows)}) d JOIN {sent} s ON s.id = d.id"""  # noqa: S608 - of constants


def page(rows: str) -> str:
    """A page of `rows`, which are one more than the page has, if there are more."""
    return f"""
SELECT json_build_object(
  'data', coalesce(json_agg(d) FILTER (WHERE n <= {PAGE}), '[]'),
  'next_cursor', CASE WHEN count(*) > {PAGE} THEN (min(id) FILTER (WHERE n <= {PAGE}))::text END,
  'has_more', count(*) > {PAGE}, 'count', NULL)::text
FROM (SELECT d, d.id, row_number() OVER (ORDER BY d.id DESC) AS n FROM ({rows}) d) numbered"""  # noqa: S608 - of constants


CONDITIONS = {  # of a list; those with braces have a value
    "project": "t.project_id = {0}::bigint AND EXISTS (SELECT FROM mine WHERE id = {0}::bigint)",
    "status": "t.status = {0}::varchar",
    "assignee": "t.assignee_id = (SELECT user_id FROM auth)",
    "ready": f"t.status <> 'done' AND {IS_ACTIVE} AND NOT EXISTS ({BLOCKING})",
    "q": "t.search @@ {0}::text::tsquery",
    "cursor": "t.id < {0}::bigint",
}
VALUES = ("project", "status", "q", "cursor")


def list_statement(given: frozenset[str]) -> str:
    """Return the statement for a page with these conditions. Its values are numbered from $3."""
    conditions, number = [], 3
    for name, condition in CONDITIONS.items():
        if name in given:
            conditions.append(condition.format(f"${number}"))
            number += name in VALUES
    if "project" not in given:
        # as an array, or the full-text index would be read once for each project
        conditions.append("t.project_id = ANY (ARRAY(SELECT id FROM mine))")
    allowed = "EXISTS (SELECT FROM mine WHERE id = $3)" if "project" in given else "true"
    rows = f"""
, page AS MATERIALIZED (
  SELECT * FROM tasks_task t
  WHERE t.tenant_id = $1 AND t.deleted_at IS NULL AND {" AND ".join(conditions)}
  ORDER BY t.id DESC LIMIT {PAGE + 1}
)"""  # noqa: S608 - of constants
    return statement(rows, allowed, page(document("page")))


LISTS = {
    given: list_statement(given)
    for count in range(len(CONDITIONS) + 1)
    for given in map(frozenset, combinations(CONDITIONS, count))
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
    SELECT coalesce(sum(d.todo), 0) AS todo, coalesce(sum(d.in_progress), 0) AS in_progress,
      coalesce(sum(d.done), 0) AS done, coalesce(sum(d.cancelled), 0) AS cancelled
    FROM tasks_taskcountdelta d WHERE d.tenant_id = mine.tenant_id AND d.project_id = p.id
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
), counted AS (
  INSERT INTO tasks_taskcountdelta (tenant_id, project_id, todo, in_progress, done, cancelled)
  SELECT tenant_id, project_id, count(*), 0, 0, 0 FROM made GROUP BY tenant_id, project_id
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
    bulk_response("made", "planned"),
)
CHANGED = """
, recorded AS (
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
  FROM new JOIN old ON old.id = new.id, auth
), counted AS (
  INSERT INTO tasks_taskcountdelta (tenant_id, project_id, todo, in_progress, done, cancelled)
  SELECT new.tenant_id, new.project_id,
    (new.status = 'todo')::int - (old.status = 'todo')::int,
    (new.status = 'in_progress')::int - (old.status = 'in_progress')::int,
    coalesce(new.outcome = 'completed', false)::int
      - coalesce(old.outcome = 'completed', false)::int,
    coalesce(new.outcome = 'cancelled', false)::int
      - coalesce(old.outcome = 'cancelled', false)::int
  FROM new JOIN old ON old.id = new.id WHERE new.status <> old.status
), result AS (
  SELECT * FROM new UNION ALL SELECT * FROM old WHERE id NOT IN (SELECT id FROM new)
)"""
# $3 task, $4 title, $5 priority, $6 status, $7 whether there is an assignee, $8 the assignee, $9
# and $10 the folded title and its words
UPDATE = statement(
    f"""
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
){CHANGED}""",  # noqa: S608 - of constants
    "EXISTS (SELECT FROM old)",
    f"SELECT to_json(d)::text FROM ({document('result')}) d",  # noqa: S608 - of constants
)
# $3 tasks, $4 titles, $5 priorities, $6 and $7 the folded titles and their words. Null: unchanged
EDITS = statement(
    f"""
, sent AS MATERIALIZED (
  SELECT * FROM unnest($3::bigint[], $4::varchar[], $5::varchar[], $6::text[], $7::text[])
    WITH ORDINALITY AS a(id, title, priority, title_folded, title_words, n)
), old AS MATERIALIZED (
  SELECT t.* FROM tasks_task t
  WHERE t.tenant_id = $1 AND t.id = ANY ($3) AND t.deleted_at IS NULL
    AND t.project_id = ANY (ARRAY(SELECT id FROM mine))
  ORDER BY t.id FOR UPDATE OF t
), new AS (
  UPDATE tasks_task t SET title = coalesce(a.title, t.title),
    priority = coalesce(a.priority, t.priority),
    title_folded = coalesce(a.title_folded, t.title_folded),
    title_words = coalesce(a.title_words, t.title_words),
    version = t.version + 1, updated_at = now()
  FROM old JOIN sent a ON a.id = old.id
  WHERE t.tenant_id = $1 AND t.id = old.id
    AND (SELECT count(*) FROM old) = (SELECT count(*) FROM sent)
    AND (coalesce(a.title, t.title), coalesce(a.priority, t.priority))
      IS DISTINCT FROM (t.title, t.priority)
  RETURNING t.*
){CHANGED}""",  # noqa: S608 - of constants
    "(SELECT count(*) FROM old) = (SELECT count(*) FROM sent)",
    bulk_response("result", "sent"),
)
