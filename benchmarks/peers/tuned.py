"""The usual stack, tuned by hand: Core statements built once, plain rows, orjson.

The user and the membership are one query. Reads use no transaction. Responses are not validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.peers.documents import (
    PAGE,
    Status,
    TaskBulk,
    TaskCreate,
    TaskUpdate,
    UpdateOperation,
    read_token,
    searched,
    text_query,
)
from benchmarks.peers.schema import make_engine, now
from benchmarks.peers.tuned_documents import (
    answer,
    born,
    count_of,
    event_values,
    page_document,
    task_document,
    task_documents,
    user_ref,
)
from benchmarks.peers.tuned_statements import (
    COUNT_NAMES,
    COUNTS,
    INSERT_DELTAS,
    INSERT_EVENTS,
    INSERT_TASKS,
    LOCKED,
    LOCKED_IDS,
    MEMBERS,
    ONE,
    PAGES,
    PROJECT_FIELDS,
    PROJECTS,
    SEVERAL,
    TAKE_NUMBERS,
    TASK_FIELDS,
    UPDATE_TASK,
    WHO,
)
from taskflow.db.text import fold_key, search_text

app = FastAPI()
bearer = HTTPBearer()
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(bearer)]
engine = make_engine()
reading = engine.execution_options(isolation_level="AUTOCOMMIT")

# ---- authentication -----------------------------------------------------------------------------


async def authenticate(
    connection: AsyncConnection, credentials: Credentials, project_id: int | None = None
) -> tuple[int, int]:
    """Return (tenant, user). If a project is given, the user must be a member."""
    tenant_id, digest = read_token(credentials.credentials)
    named = {"tenant": tenant_id, "digest": digest, "project": project_id}
    row = (await connection.execute(WHO, named)).first()
    if row is None:
        raise HTTPException(401, "The token is unknown, expired or revoked.")
    if project_id is not None and row[1] is None:
        raise HTTPException(404, "There is no such project.")
    return tenant_id, row[0]


async def check_assignees(
    connection: AsyncConnection, tenant_id: int, pairs: Iterable[tuple[int | None, int]]
) -> None:
    """Each (user, project) must be a membership."""
    required = {pair for pair in pairs if pair[0] is not None}
    if not required:
        return
    named = {
        "tenant": tenant_id,
        "users": [user_id for user_id, _ in required],
        "projects": [project_id for _, project_id in required],
    }
    existing = {tuple(row) for row in await connection.execute(MEMBERS, named)}
    if required - existing:
        raise HTTPException(422, "The assignee is not in this project.")


# ---- requests -----------------------------------------------------------------------------------


@app.get("/api/v1/tasks", response_model=None)
async def list_tasks(
    credentials: Credentials,
    project: int | None = None,
    status: Status | None = None,
    assignee: Literal["me"] | None = None,
    ready: bool = False,
    q: Annotated[str | None, Query(max_length=200)] = None,
    cursor: int | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> Response:
    async with reading.connect() as connection:
        tenant_id, user_id = await authenticate(connection, credentials, project)
        given = {
            "project": project,
            "status": status,
            "assignee": assignee,
            "ready": ready or None,
            "words": q and text_query(tenant_id, q),
            "cursor": cursor,
        }
        named = {name: value for name, value in given.items() if value is not None}
        statement = PAGES[frozenset(named)]
        named |= {"user": user_id, "tenant": tenant_id, "limit": limit + 1}
        rows = (await connection.execute(statement, named)).all()
        data = await task_documents(connection, tenant_id, rows[:limit])
    return answer(page_document(data, len(rows) > limit))


@app.get("/api/v1/tasks/{task_id}", response_model=None)
async def get_task(task_id: int, credentials: Credentials) -> Response:
    async with reading.connect() as connection:
        tenant_id, user_id = await authenticate(connection, credentials)
        row = await find_task(connection, ONE, tenant_id, user_id, task_id)
        return answer((await task_documents(connection, tenant_id, [row]))[0])


async def find_task(
    connection: AsyncConnection, statement: Any, tenant_id: int, user_id: int, task_id: int
) -> Row[Any]:
    named = {"id": task_id, "user": user_id, "tenant": tenant_id}
    row = (await connection.execute(statement, named)).first()
    if row is None:
        raise HTTPException(404, "There is no such task.")
    return row


@app.get("/api/v1/projects", response_model=None)
async def list_projects(credentials: Credentials) -> Response:
    async with reading.connect() as connection:
        tenant_id, user_id = await authenticate(connection, credentials)
        named = {"tenant": tenant_id, "user": user_id}
        rows = (await connection.execute(PROJECTS, named)).all()
        counts = {row[0]: dict.fromkeys(COUNT_NAMES, 0) for row in rows[:PAGE]}
        named = {"tenant": tenant_id, "ids": list(counts)}
        for project_id, *totals in await connection.execute(COUNTS, named):
            counts[project_id] = dict(zip(COUNT_NAMES, totals, strict=True))
    size = len(PROJECT_FIELDS)
    data = [
        {
            **dict(zip(PROJECT_FIELDS, row, strict=False)),
            "role": row[size],
            "owner": user_ref(row[size + 1 :]),
            "task_counts": counts[row[0]],
        }
        for row in rows[:PAGE]
    ]
    return answer(page_document(data, len(rows) > PAGE))


@app.post("/api/v1/tasks", response_model=None)
async def create_task(body: TaskCreate, credentials: Credentials) -> Response:
    async with engine.begin() as connection:
        tenant_id, user_id = await authenticate(connection, credentials, body.project_id)
        await check_assignees(connection, tenant_id, [(body.assignee_id, body.project_id)])
        (document,) = await insert_tasks(connection, tenant_id, user_id, [body])
    return answer(document, 201)


@app.post("/api/v1/tasks/bulk", response_model=None)
async def bulk_edit_tasks(body: TaskBulk, credentials: Credentials) -> Response:
    async with engine.begin() as connection:
        tenant_id, user_id = await authenticate(connection, credentials)
        if updates := body.updated():
            documents = await change_tasks(connection, tenant_id, user_id, updates)
        else:
            bodies = body.created()
            pairs = [(user_id, project_id) for project_id in body.counts()]
            pairs += [(one.assignee_id, one.project_id) for one in bodies if one.assignee_id]
            await check_assignees(connection, tenant_id, pairs)
            documents = await insert_tasks(connection, tenant_id, user_id, bodies)
    results = [
        {
            "index": n,
            "ok": True,
            "id": document["id"],
            "key": document["key"],
            "task": document,
            "problem": None,
        }
        for n, document in enumerate(documents)
    ]
    return answer(
        {"succeeded": len(results), "skipped": 0, "tasks_left_out": 0, "results": results}
    )


async def insert_tasks(
    connection: AsyncConnection, tenant_id: int, user_id: int, bodies: Sequence[TaskCreate]
) -> list[dict[str, Any]]:
    """Make them with their events, and read them back."""
    ids = [body.project_id for body in bodies]
    numbers = {}
    for project_id in sorted(set(ids)):
        named = {"tenant": tenant_id, "project": project_id, "count": ids.count(project_id)}
        last = (await connection.execute(TAKE_NUMBERS, named)).scalar_one()
        numbers[project_id] = last - ids.count(project_id)
    timestamp, rows = now(), []
    for body in bodies:
        numbers[body.project_id] += 1
        rows.append(
            {
                **body.__dict__,
                **searched(body.title, body.description),
                "tenant_id": tenant_id,
                "created_by_id": user_id,
                "number": numbers[body.project_id],
                "status": "todo",
                "links": [],
                "metadata": {},
                "version": 1,
                "created_at": timestamp,
                "updated_at": timestamp,
            }
        )
    made = list((await connection.execute(INSERT_TASKS, rows)).scalars())
    recorded = [
        event_values(user_id, pk, row, "created", born(row), timestamp)
        for pk, row in zip(made, rows, strict=True)
    ]
    await connection.execute(INSERT_EVENTS, recorded)
    added = [(project_id, {"todo": ids.count(project_id)}) for project_id in set(ids)]
    await insert_deltas(connection, tenant_id, added)
    stored = (await connection.execute(SEVERAL, {"tenant": tenant_id, "ids": made})).all()
    return [task_document(row, [], []) for row in stored]  # a new task has neither


async def insert_deltas(
    connection: AsyncConnection, tenant_id: int, added: Iterable[tuple[int, Mapping[str, int]]]
) -> None:
    """Add the differences to the stored counts of the projects. TaskFlow merges the rows."""
    rows = [
        {"tenant_id": tenant_id, "project_id": pk, **dict.fromkeys(COUNT_NAMES, 0), **counts}
        for pk, counts in added
        if any(counts.values())
    ]
    if rows:
        await connection.execute(INSERT_DELTAS, rows)


@app.patch("/api/v1/tasks/{task_id}", response_model=None)
async def update_task(task_id: int, body: TaskUpdate, credentials: Credentials) -> Response:
    return await change_task(credentials, task_id, body.sent())


@app.post("/api/v1/tasks/{task_id}/completion", response_model=None)
async def complete_task(task_id: int, credentials: Credentials) -> Response:
    return await change_task(credentials, task_id, {"status": "done"})


@app.delete("/api/v1/tasks/{task_id}/completion", response_model=None)
async def reopen_task(task_id: int, credentials: Credentials) -> Response:
    return await change_task(credentials, task_id, {"status": "todo"})


async def change_task(credentials: Credentials, task_id: int, sent: dict[str, Any]) -> Response:
    async with engine.begin() as connection:
        tenant_id, user_id = await authenticate(connection, credentials)
        row = await find_task(connection, LOCKED, tenant_id, user_id, task_id)
        if await store_changes(connection, tenant_id, user_id, [(row, sent)]):
            row = await find_task(connection, ONE, tenant_id, user_id, task_id)
        document = (await task_documents(connection, tenant_id, [row]))[0]
    return answer(document)


async def change_tasks(
    connection: AsyncConnection, tenant_id: int, user_id: int, updates: Sequence[UpdateOperation]
) -> list[dict[str, Any]]:
    ids = [update.id for update in updates]
    named = {"tenant": tenant_id, "user": user_id, "ids": ids}
    rows = {row[0]: row for row in await connection.execute(LOCKED_IDS, named)}
    if len(rows) < len(ids):
        raise HTTPException(404, "There is no such task.")
    pairs = [(rows[one.id], one.data.sent()) for one in updates]
    await store_changes(connection, tenant_id, user_id, pairs)
    stored = (await connection.execute(SEVERAL, {"tenant": tenant_id, "ids": ids})).all()
    documents = {one["id"]: one for one in await task_documents(connection, tenant_id, stored)}
    return [documents[pk] for pk in ids]


async def store_changes(
    connection: AsyncConnection,
    tenant_id: int,
    user_id: int,
    pairs: Iterable[tuple[Row[Any], dict[str, Any]]],
) -> bool:
    """Store the values of locked rows that differ, with their events. Return whether any does."""
    timestamp, changed, recorded, added = now(), [], [], []
    for row, sent in pairs:
        old = dict(zip(TASK_FIELDS, row, strict=False))
        new = {name: value for name, value in sent.items() if old[name] != value}
        if not new:
            continue
        values = {**new, "version": old["version"] + 1, "updated_at": timestamp}
        if "title" in new:
            values["title_folded"] = fold_key(new["title"])
            values["title_words"] = search_text(new["title"])
        if "status" in new:
            is_done = new["status"] == "done"
            values["completed_at"] = timestamp if is_done else None
            values["outcome"] = "completed" if is_done else None
            counts = {count_of(old["status"], old["outcome"]): -1, new["status"]: 1}
            added.append((old["project_id"], counts))
        changes = {name: [old[name], value] for name, value in new.items()}
        state = {**old, **values, "tenant_id": tenant_id}
        recorded.append(event_values(user_id, old["id"], state, "changed", changes, timestamp))
        changed.append((old["id"], old["project_id"], values))
    if not changed:
        return False
    assigned = [(values.get("assignee_id"), project_id) for _, project_id, values in changed]
    await check_assignees(connection, tenant_id, assigned)
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for task_id, _, values in changed:
        named = {"row": task_id, "tenant": tenant_id, **values}
        by_columns.setdefault(tuple(values), []).append(named)
    for rows in by_columns.values():
        await connection.execute(UPDATE_TASK, rows)
    await connection.execute(INSERT_EVENTS, recorded)
    await insert_deltas(connection, tenant_id, added)
    return True
