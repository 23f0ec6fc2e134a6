"""The limit, without a framework: granian's RSGI, asyncpg and one SQL statement per request."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from typing import Any
from urllib.parse import parse_qs

import asyncpg
from pydantic import ValidationError

from benchmarks.peers.bare_statements import (
    BULK,
    CONDITIONS,
    CREATE,
    EDITS,
    LISTS,
    ONE,
    PROJECTS,
    UPDATE,
    VALUES,
)
from benchmarks.peers.documents import (
    TaskBulk,
    TaskCreate,
    TaskUpdate,
    read_token,
    searched,
    text_query,
)
from benchmarks.peers.settings import CONNECTIONS, DATABASE_URL
from taskflow.db.text import fold_key, search_text

HEADERS = [("content-type", "application/json")]
COMPLETION = "/completion"
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
            sent = TaskUpdate.model_validate_json(body).sent()
            return plan_update(int(path.removeprefix(f"{TASKS}/")), sent)
        if path.endswith(COMPLETION):
            task_id = int(path.removeprefix(f"{TASKS}/").removesuffix(COMPLETION))
            return plan_update(task_id, {"status": "done" if method == "POST" else "todo"})
        if path == BULK_PATH:
            return plan_bulk(TaskBulk.model_validate_json(body))
        return CREATE, created_values(TaskCreate.model_validate_json(body))


def plan_list(query: str, tenant_id: int) -> tuple[str, list[Any]]:
    """`assignee` can only be `me`, `ready` only `true`."""
    given = {name: values[0] for name, values in parse_qs(query).items()}
    convert = {"project": int, "status": str, "cursor": int}
    convert["q"] = lambda words: text_query(tenant_id, words)
    sql = LISTS[frozenset(given).intersection(CONDITIONS)]
    return sql, [convert[name](given[name]) for name in VALUES if name in given]


def plan_update(task_id: int, sent: dict[str, Any]) -> tuple[str, list[Any]]:
    names = ("title", "priority", "status")
    has_assignee, assignee_id = "assignee_id" in sent, sent.get("assignee_id")
    values = [task_id, *map(sent.get, names), has_assignee, assignee_id]
    return UPDATE, [*values, *folded(sent.get("title"))]


def plan_bulk(bulk: TaskBulk) -> tuple[str, list[Any]]:
    """Changes set titles and priorities only."""
    if updates := bulk.updated():
        rows = []
        for one in updates:
            sent = one.data.sent()
            if sent.keys() - {"title", "priority"}:
                raise ValueError("A bulk request sets titles and priorities.")
            title = sent.get("title")
            rows.append([one.id, title, sent.get("priority"), *folded(title)])
        return EDITS, [list(column) for column in zip(*rows, strict=True)]
    columns = zip(*(created_values(task) for task in bulk.created()), strict=True)
    return BULK, [list(column) for column in columns]


def folded(title: str | None) -> tuple[str | None, str | None]:
    return (None, None) if title is None else (fold_key(title), search_text(title))


def created_values(task: TaskCreate) -> list[Any]:
    row = [task.project_id, task.title, task.description, task.priority, task.assignee_id]
    return [*row, *searched(task.title, task.description).values()]


app = App()
