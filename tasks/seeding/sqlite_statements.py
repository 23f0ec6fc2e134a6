"""The statements that create benchmark tasks on SQLite. That for PostgreSQL is in benchmark.py.

They create a task for each row of `numbers`, with its event and up to two tags. The event has the
values that the recorder would write.
"""

from __future__ import annotations

NUMBERS = """
WITH RECURSIVE numbers(n) AS (
  SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last
), planned AS (
  SELECT n, datetime(:now, ((n - :last) * 7) || ' seconds') AS at,
    CASE WHEN n % 10 < 6 THEN 'done' WHEN n % 10 < 8 THEN 'todo' ELSE 'in_progress' END AS status,
    json_extract(:verbs, '$[' || (n % 8) || ']') || ' '
      || json_extract(:objects, '$[' || (n * 7 % 11) || ']') || ' ' || n AS title
  FROM numbers
)
"""
TASKS = f"""
INSERT INTO tasks_task (tenant_id, project_id, number, title, title_folded, title_words,
  description, description_words, status, priority, assignee_id, created_by_id, due_on, links,
  metadata, version, outcome, completed_at, created_at, updated_at)
{NUMBERS}
SELECT :tenant, :project, n, title, lower(title), ' ' || lower(title) || ' ',
  json_extract(:texts, '$[' || (n % 5) || ']'), json_extract(:text_words, '$[' || (n % 5) || ']'),
  status,
  CASE n * 5 % 3 WHEN 0 THEN 'low' WHEN 1 THEN 'medium' ELSE 'high' END,
  CASE WHEN n % 4 > 0 THEN json_extract(:users, '$[' || (n * 3 % :users_count) || ']') END,
  json_extract(:users, '$[' || (n % :users_count) || ']'),
  CASE WHEN n % 3 = 0 THEN date(at, (n % 40) || ' days') END,
  '[]', '{{}}', 1, CASE WHEN status = 'done' THEN 'completed' END,
  CASE WHEN status = 'done' THEN datetime(at, '1 hour') END, at, at
FROM planned
"""  # noqa: S608 - a constant
# The condition that selects the tasks that TASKS has created.
NEW_TASKS = "tenant_id = :tenant AND project_id = :project AND number BETWEEN :first AND :last"
PARENTS = f"""
UPDATE tasks_task SET parent_id = (
  SELECT p.id FROM tasks_task p WHERE p.tenant_id = :tenant AND p.project_id = :project
    AND p.number = tasks_task.number - 1)
WHERE {NEW_TASKS} AND number % 20 = 0 AND number > :first
"""  # noqa: S608 - a constant
COUNTS = f"""
INSERT INTO tasks_taskcountdelta (tenant_id, project_id, todo, in_progress, done, cancelled)
SELECT :tenant, :project, sum(status = 'todo'), sum(status = 'in_progress'),
  sum(status = 'done'), 0
FROM tasks_task WHERE {NEW_TASKS}
"""  # noqa: S608 - a constant
TAGS = f"""
INSERT INTO tasks_tasktag (tenant_id, task_id, tag_id)
SELECT :tenant, tasks_task.id,
  json_extract(:tags, '$[' || ((number + k.value) % :tags_count) || ']')
FROM tasks_task, json_each('[1, 2]') k WHERE {NEW_TASKS} AND k.value <= number % 3
"""  # noqa: S608 - a constant
EVENTS = f"""
INSERT INTO audit_event (tenant_id, actor_id, via, request_id, reason, verb, subject_type,
  subject_id, version, project_id, changes, created_at)
SELECT :tenant, created_by_id, 'command', '', '', 'created', 'task', id, 1, :project,
  json_patch('{{}}', json_object(  -- which leaves out what is null
    'project', json_array(NULL, :project), 'number', json_array(NULL, number),
    'title', json_array(NULL, title),
    'description', CASE WHEN description <> '' THEN json_array(NULL, description) END,
    'status', json_array(NULL, status), 'priority', json_array(NULL, priority),
    'outcome', CASE WHEN outcome IS NOT NULL THEN json_array(NULL, outcome) END,
    'assignee', CASE WHEN assignee_id IS NOT NULL THEN json_array(NULL, assignee_id) END,
    'created_by', json_array(NULL, created_by_id),
    'parent', CASE WHEN parent_id IS NOT NULL THEN json_array(NULL, parent_id) END,
    'due_on', CASE WHEN due_on IS NOT NULL THEN json_array(NULL, due_on) END,
    'completed_at', CASE WHEN completed_at IS NOT NULL
      THEN json_array(NULL, replace(completed_at, ' ', 'T') || '+00:00') END,
    'tags', CASE WHEN number % 3 > 0 THEN json_array(json('[]'), (
      SELECT json_group_array(tag_id) FROM (
        SELECT tag_id FROM tasks_tasktag
        WHERE tenant_id = :tenant AND task_id = tasks_task.id ORDER BY tag_id))) END)),
  created_at
FROM tasks_task WHERE {NEW_TASKS}
"""  # noqa: S608 - a constant
STATEMENTS = (TASKS, PARENTS, COUNTS, TAGS, EVENTS)
