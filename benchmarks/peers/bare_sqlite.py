"""The limit, without a framework: granian's RSGI, sqlite3, and JSON that SQLite builds.

Each request is answered in the event loop: one connection, one thread, nothing to wait for.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from pydantic import ValidationError

from benchmarks.peers.documents import PAGE, TaskBulk, TaskCreate, TaskUpdate, read_token, searched
from benchmarks.peers.settings import DATABASE_URL
from taskflow.db.text import fold_key, search_text

AUTH = """
SELECT u.id FROM accounts_apitoken k JOIN accounts_user u ON u.id = k.user_id
WHERE k.tenant_id = ?1 AND k.digest = ?2 AND k.revoked_at IS NULL
  AND (k.expires_at IS NULL OR k.expires_at > datetime('now')) AND u.is_active
"""
MEMBER = "SELECT 1 FROM tasks_projectmember WHERE project_id = ?1 AND user_id = ?2"
USER = """(SELECT json_object('id', u.id, 'handle', u.handle, 'full_name', u.full_name,
  'email', u.email, 'kind', u.kind, 'responsible_id', u.responsible_id)
  FROM accounts_user u WHERE u.id = {})"""


def instant(column: str) -> str:
    return f"replace({column}, ' ', 'T') || 'Z'"


DOCUMENT = f"""
SELECT json_object('id', t.id, 'key', p.key || '-' || t.number, 'number', t.number,
  'project_id', t.project_id, 'title', t.title, 'description', t.description, 'status', t.status,
  'outcome', t.outcome, 'completed', json(iif(t.status = 'done', 'true', 'false')),
  'ready', json(iif(t.status <> 'done' AND NOT EXISTS (
    SELECT 1 FROM tasks_taskblocker l JOIN tasks_task o ON o.id = l.blocker_id
    WHERE l.tenant_id = t.tenant_id AND l.task_id = t.id AND o.deleted_at IS NULL
      AND o.status <> 'done'), 'true', 'false')),
  'priority', t.priority, 'assignee_id', t.assignee_id,
  'assignee', {USER.format("t.assignee_id")}, 'created_by_id', t.created_by_id,
  'created_by', {USER.format("t.created_by_id")}, 'parent_id', t.parent_id,
  'blocked_by', (SELECT json_group_array(b) FROM (SELECT l.blocker_id AS b
    FROM tasks_taskblocker l JOIN tasks_task o ON o.id = l.blocker_id
    WHERE l.tenant_id = t.tenant_id AND l.task_id = t.id AND o.deleted_at IS NULL ORDER BY b)),
  'tags', (SELECT json_group_array(json_object('id', id, 'name', name, 'color', color)) FROM (
    SELECT g.id, g.name, g.color FROM tasks_tasktag l JOIN tasks_tag g ON g.id = l.tag_id
    WHERE l.tenant_id = t.tenant_id AND l.task_id = t.id ORDER BY g.name, g.id)),
  'due_date', {instant("t.due_date")}, 'due_on', t.due_on, 'links', json(t.links),
  'metadata', json(t.metadata),
  'external_ref', t.external_ref, 'version', t.version,
  'completed_at', {instant("t.completed_at")}, 'created_at', {instant("t.created_at")},
  'updated_at', {instant("t.updated_at")}, 'last_activity_at', {instant("t.last_activity_at")})
FROM tasks_task t JOIN tasks_project p ON p.id = t.project_id
"""  # noqa: S608 - of constants
MINE = """t.project_id IN (SELECT m.project_id FROM tasks_projectmember m
  JOIN tasks_project q ON q.id = m.project_id WHERE m.user_id = ? AND q.deleted_at IS NULL)"""
ORDERS = {
    None: "t.id DESC",
    "-created_at": "t.created_at DESC, t.id DESC",
    "due_on": "t.due_on ASC NULLS LAST, t.id",
    "-priority": "t.priority_rank DESC, t.id DESC",
    "title": "t.title, t.id",
    "-priority,due_date": "t.priority_rank DESC, t.due_date ASC NULLS LAST, t.id",
}
ONE = f"{DOCUMENT} WHERE t.id = ? AND t.tenant_id = ? AND t.deleted_at IS NULL AND {MINE}"
STORED = f"""
SELECT t.title, t.priority, t.status, t.assignee_id, t.version, t.project_id FROM tasks_task t
WHERE t.id = ? AND t.tenant_id = ? AND {MINE}
"""  # noqa: S608 - of constants
INSERT = """
INSERT INTO tasks_task (tenant_id, project_id, number, title, description, status, priority,
  assignee_id, created_by_id, links, metadata, version, created_at, updated_at, title_folded,
  title_words, description_words)
VALUES (?, ?, ?, ?, ?, 'todo', ?, ?, ?, '[]', '{}', 1, ?, ?, ?, ?, ?)
"""
EVENT = """
INSERT INTO audit_event (tenant_id, actor_id, via, request_id, reason, verb, subject_type,
  subject_id, version, project_id, changes, created_at)
VALUES (?, ?, 'api', '', '', ?, 'task', ?, ?, ?, ?, ?)
"""
JSON = [("content-type", "application/json")]


class Missing(Exception):
    """There is no such row for this caller."""


class Work:
    """What a request does, as one user of one tenant."""

    def __init__(self, db: sqlite3.Connection, tenant: int, user: int) -> None:
        self.db, self.tenant, self.user = db, tenant, user

    def list(self, query: str) -> str:
        given = {name: values[0] for name, values in parse_qs(query).items()}
        conditions, values = ["t.tenant_id = ?", "t.deleted_at IS NULL"], [self.tenant]
        if "project" in given:
            self.require_member(int(given["project"]), self.user)
            conditions.append("t.project_id = ?")
            values.append(int(given["project"]))
        else:
            conditions.append(MINE)
            values.append(self.user)
        if "status" in given:
            conditions.append("t.status = ?")
            values.append(given["status"])  # type: ignore[arg-type]
        order = ORDERS[given.get("sort")]
        ids = f"SELECT t.id FROM tasks_task t WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT {PAGE + 1}"  # noqa: S608, E501 - of constants
        page_ids = [row[0] for row in self.db.execute(ids, values)]
        marks = ",".join("?" * len(page_ids[:PAGE]))
        rows = self.db.execute(
            f"{DOCUMENT} WHERE t.id IN ({marks}) ORDER BY {order}", page_ids[:PAGE]
        )
        more = len(page_ids) > PAGE
        rest = {"next_cursor": "more" if more else None, "has_more": more, "count": None}
        return f'{{"data":[{",".join(row[0] for row in rows)}],{json.dumps(rest)[1:]}'

    def one(self, task_id: int) -> str:
        row = self.db.execute(ONE, [task_id, self.tenant, self.user]).fetchone()
        if row is None:
            raise Missing
        return str(row[0])

    def create(self, tasks: Sequence[TaskCreate]) -> Sequence[int]:
        return [self.create_one(task, timestamp()) for task in tasks]

    def create_one(self, task: TaskCreate, at: str) -> int:
        self.require_member(task.project_id, self.user)
        if task.assignee_id is not None:
            self.require_member(task.project_id, task.assignee_id)
        number = self.db.execute(
            "UPDATE tasks_project SET last_number = last_number + 1 WHERE id = ? AND tenant_id = ?"
            " RETURNING last_number",
            [task.project_id, self.tenant],
        ).fetchall()[0][0]
        row = [self.tenant, task.project_id, number, task.title, task.description, task.priority]
        row += [task.assignee_id, self.user, at, at]
        row += searched(task.title, task.description).values()
        task_id = int(self.db.execute(INSERT, row).lastrowid or 0)
        sent = task.model_dump() | {"number": number, "status": "todo"}
        changes = {name: [None, value] for name, value in sent.items()}
        self.record("created", task_id, 1, task.project_id, changes, at)
        return task_id

    def update(self, task_id: int, body: bytes) -> None:
        sent = TaskUpdate.model_validate_json(body).sent()
        row = self.db.execute(
            STORED,
            [task_id, self.tenant, self.user],
        ).fetchone()
        if row is None:
            raise Missing
        stored = dict(zip(("title", "priority", "status", "assignee_id"), row, strict=False))
        changes = {n: [stored[n], v] for n, v in sent.items() if stored[n] != v}
        if changes:
            at, version = timestamp(), row[4] + 1
            values = {name: new for name, (_, new) in changes.items()}
            if "title" in values:
                title = values["title"]
                values |= {"title_folded": fold_key(title), "title_words": search_text(title)}
            columns = ", ".join(f"{name} = ?" for name in values)
            self.db.execute(
                f"UPDATE tasks_task SET {columns}, version = ?, updated_at = ? WHERE id = ?",  # noqa: S608
                [*values.values(), version, at, task_id],
            )
            self.record("changed", task_id, version, row[5], changes, at)

    def require_member(self, project_id: int, user_id: int) -> None:
        if self.db.execute(MEMBER, [project_id, user_id]).fetchone() is None:
            raise Missing

    def record(
        self, verb: str, task_id: int, version: int, project_id: int, changes: Any, at: str
    ) -> None:
        row = [self.tenant, self.user, verb, task_id, version, project_id, json.dumps(changes), at]
        self.db.execute(EVENT, row)


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


@contextmanager
def transaction(db: sqlite3.Connection, mode: str) -> Iterator[None]:
    db.execute(f"BEGIN {mode}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


class App:
    def __rsgi_init__(self, loop: Any) -> None:
        path = DATABASE_URL.removeprefix("sqlite:///")
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("PRAGMA cache_size=-20000")

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        body = await protocol() if scope.method != "GET" else b""
        try:
            with transaction(self.db, "DEFERRED" if scope.method == "GET" else "IMMEDIATE"):
                status, text = self.answer(scope, body)
        except (ValidationError, ValueError) as error:
            status, text = 422, json.dumps({"detail": type(error).__name__})
        except Missing:
            status, text = 404, '{"detail": "Not found"}'
        protocol.response_str(status, JSON, text)

    def answer(self, scope: Any, body: bytes) -> tuple[int, str]:
        token = (scope.headers.get("authorization") or "").removeprefix("Bearer ")
        tenant, digest = read_token(token)
        user = self.db.execute(AUTH, [tenant, digest]).fetchone()
        if user is None:
            return 401, '{"detail": "Unauthorized"}'
        work, name = Work(self.db, tenant, user[0]), scope.path.removeprefix("/api/v1/tasks")
        if scope.method == "GET":
            return 200, work.one(int(name[1:])) if name else work.list(scope.query_string)
        if scope.method == "PATCH":
            work.update(int(name[1:]), body)
            return 200, work.one(int(name[1:]))
        if name == "/bulk":
            tasks = TaskBulk.model_validate_json(body).created()
            return 200, bulk_response(work, work.create(tasks))
        [task_id] = work.create([TaskCreate.model_validate_json(body)])
        return 201, work.one(task_id)


def bulk_response(work: Work, ids: Sequence[int]) -> str:
    results = []
    for n, pk in enumerate(ids):
        task = work.one(pk)
        key = json.dumps(json.loads(task)["key"])
        results.append(
            f'{{"index": {n}, "ok": true, "id": {pk}, "key": {key}, "task": {task},'
            ' "problem": null}'
        )
    counts = f'"succeeded": {len(ids)}, "skipped": 0, "tasks_left_out": 0'
    return f'{{{counts}, "results": [{",".join(results)}]}}'


app = App()
