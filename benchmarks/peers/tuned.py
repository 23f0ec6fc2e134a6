"""The usual stack, tuned by hand: Core statements built once, plain rows, orjson.

The user and the membership are one query. Reads use no transaction. Responses are not validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Row, and_, bindparam, case, cast, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.peers.documents import (
    PAGE,
    Status,
    TaskBulk,
    TaskCreate,
    TaskUpdate,
    read_token,
    searched,
    text_query,
)
from benchmarks.peers.schema import (
    ApiToken,
    Event,
    Project,
    ProjectMember,
    Tag,
    Task,
    TaskBlocker,
    TaskTag,
    User,
    make_engine,
    now,
)
from taskflow.db.text import fold_key, search_text

app = FastAPI()
bearer = HTTPBearer()
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(bearer)]
engine = make_engine()
reading = engine.execution_options(isolation_level="AUTOCOMMIT")

# ---- statements ---------------------------------------------------------------------------------

tokens, users, members = ApiToken.__table__, User.__table__, ProjectMember.__table__
projects, tasks, events = Project.__table__, Task.__table__, Event.__table__
tags, task_tags, blockers = Tag.__table__, TaskTag.__table__, TaskBlocker.__table__
assignees, creators = users.alias("assignees"), users.alias("creators")

TASK_FIELDS = (
    "id",
    "number",
    "project_id",
    "title",
    "description",
    "status",
    "outcome",
    "priority",
    "assignee_id",
    "created_by_id",
    "parent_id",
    "due_date",
    "due_on",
    "links",
    "metadata",
    "external_ref",
    "version",
    "completed_at",
    "created_at",
    "updated_at",
    "last_activity_at",
)
USER_FIELDS = ("id", "handle", "full_name", "email", "kind", "responsible_id")
PROJECT_FIELDS = (
    "id",
    "key",
    "name",
    "description",
    "status",
    "metadata",
    "owner_id",
    "version",
    "created_at",
    "updated_at",
)
COUNT_NAMES = ("todo", "in_progress", "done", "cancelled")
T, U = len(TASK_FIELDS), len(USER_FIELDS)


def references(row: Any, column: str, table: Any) -> Any:
    """The join from a row's column to the table; the key of each table is (tenant_id, id)."""
    return and_(table.c.tenant_id == row.c.tenant_id, table.c.id == row.c[column])


IS_LIVE = and_(
    tokens.c.tenant_id == bindparam("tenant"),
    tokens.c.digest == bindparam("digest"),
    tokens.c.revoked_at.is_(None),
    or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > func.now()),
    users.c.is_active,
)
WHO = (
    select(users.c.id, members.c.role)
    .select_from(
        tokens.join(users, references(tokens, "user_id", users))
        .outerjoin(
            members,
            and_(
                members.c.tenant_id == tokens.c.tenant_id,
                members.c.user_id == users.c.id,
                members.c.project_id == bindparam("project"),
            ),
        )
        .outerjoin(projects, references(members, "project_id", projects))
    )
    .where(IS_LIVE, projects.c.deleted_at.is_(None))
)
MEMBERS = select(members.c.user_id, members.c.project_id).where(
    members.c.tenant_id == bindparam("tenant"),
    members.c.user_id.in_(bindparam("users", expanding=True)),
    members.c.project_id.in_(bindparam("projects", expanding=True)),
)
ROWS = (
    select(
        *(tasks.c[name] for name in TASK_FIELDS),
        projects.c.key,
        *(assignees.c[name] for name in USER_FIELDS),
        *(creators.c[name] for name in USER_FIELDS),
    )
    .select_from(
        tasks.join(projects, references(tasks, "project_id", projects))
        .outerjoin(assignees, references(tasks, "assignee_id", assignees))
        .outerjoin(creators, references(tasks, "created_by_id", creators))
    )
    .where(
        tasks.c.tenant_id == bindparam("tenant"),
        tasks.c.deleted_at.is_(None),
        projects.c.deleted_at.is_(None),
    )
)
VISIBLE = ROWS.join(
    members,
    and_(
        members.c.tenant_id == tasks.c.tenant_id,
        members.c.project_id == tasks.c.project_id,
        members.c.user_id == bindparam("user"),
    ),
)
ONE = VISIBLE.where(tasks.c.id == bindparam("id"))
LOCKED = ONE.with_for_update(of=tasks)
SEVERAL = ROWS.where(tasks.c.id.in_(bindparam("ids", expanding=True))).order_by(tasks.c.id)
TAGS = (
    select(task_tags.c.task_id, tags.c.id, tags.c.name, tags.c.color)
    .select_from(task_tags.join(tags, references(task_tags, "tag_id", tags)))
    .where(
        task_tags.c.tenant_id == bindparam("tenant"),
        task_tags.c.task_id.in_(bindparam("ids", expanding=True)),
    )
    .order_by(tags.c.name, tags.c.id)
)
BLOCKERS = (
    select(blockers.c.task_id, tasks.c.id, tasks.c.status)
    .select_from(blockers.join(tasks, references(blockers, "blocker_id", tasks)))
    .where(
        blockers.c.tenant_id == bindparam("tenant"),
        blockers.c.task_id.in_(bindparam("ids", expanding=True)),
        tasks.c.deleted_at.is_(None),
    )
    .order_by(tasks.c.id)
)
PROJECTS = (
    select(
        *(projects.c[name] for name in PROJECT_FIELDS),
        members.c.role,
        *(users.c[name] for name in USER_FIELDS),
    )
    .select_from(
        members.join(projects, references(members, "project_id", projects)).join(
            users, references(projects, "owner_id", users)
        )
    )
    .where(
        members.c.tenant_id == bindparam("tenant"),
        members.c.user_id == bindparam("user"),
        projects.c.deleted_at.is_(None),
    )
    .order_by(projects.c.id.desc())
    .limit(PAGE + 1)
)
COUNTED_AS = case((tasks.c.outcome == "cancelled", "cancelled"), else_=tasks.c.status)
COUNTS = (
    select(tasks.c.project_id, COUNTED_AS, func.count())
    .where(
        tasks.c.tenant_id == bindparam("tenant"),
        tasks.c.project_id.in_(bindparam("ids", expanding=True)),
        tasks.c.deleted_at.is_(None),
    )
    .group_by(tasks.c.project_id, COUNTED_AS)
)
TAKE_NUMBERS = (
    update(projects)
    .where(projects.c.tenant_id == bindparam("tenant"), projects.c.id == bindparam("project"))
    .values(last_number=projects.c.last_number + bindparam("count"))
    .returning(projects.c.last_number)
)
INSERT_TASKS = insert(tasks).returning(tasks.c.id, sort_by_parameter_order=True)
INSERT_EVENTS = insert(events)


def page_statement(by_project: bool, by_status: bool, by_words: bool, by_cursor: bool) -> Any:
    rows = ROWS if by_project else VISIBLE
    if by_project:
        rows = rows.where(tasks.c.project_id == bindparam("project"))
    if by_status:
        rows = rows.where(tasks.c.status == bindparam("status"))
    if by_words:
        rows = rows.where(tasks.c.search.op("@@")(cast(bindparam("words"), TSQUERY)))
    if by_cursor:
        rows = rows.where(tasks.c.id < bindparam("cursor"))
    return rows.order_by(tasks.c.id.desc()).limit(bindparam("limit"))


YES_OR_NO = (False, True)
PAGES = {
    (p, s, w, c): page_statement(p, s, w, c)
    for p in YES_OR_NO
    for s in YES_OR_NO
    for w in YES_OR_NO
    for c in YES_OR_NO
}

# ---- documents ----------------------------------------------------------------------------------


def answer(document: Any, status: int = 200) -> Response:
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


def user_ref(values: Sequence[Any]) -> dict[str, Any] | None:
    return None if values[0] is None else dict(zip(USER_FIELDS, values, strict=True))


def task_document(
    row: Row[Any], tags: list[dict[str, Any]], blockers: list[tuple[int, str]]
) -> dict[str, Any]:
    document = dict(zip(TASK_FIELDS, row, strict=False))
    is_done = document["status"] == "done"
    document["key"] = f"{row[T]}-{document['number']}"
    document["completed"] = is_done
    document["ready"] = not is_done and all(status == "done" for _, status in blockers)
    document["assignee"] = user_ref(row[T + 1 : T + 1 + U])
    document["created_by"] = user_ref(row[T + 1 + U :])
    document["blocked_by"] = [pk for pk, _ in blockers]
    document["tags"] = tags
    return document


async def task_documents(
    connection: AsyncConnection, tenant_id: int, rows: Sequence[Row[Any]]
) -> list[dict[str, Any]]:
    named = {"tenant": tenant_id, "ids": [row[0] for row in rows]}
    tags_of: dict[int, list[dict[str, Any]]] = {pk: [] for pk in named["ids"]}
    blockers_of: dict[int, list[tuple[int, str]]] = {pk: [] for pk in named["ids"]}
    if rows:
        for task_id, pk, name, color in await connection.execute(TAGS, named):
            tags_of[task_id].append({"id": pk, "name": name, "color": color})
        for task_id, pk, status in await connection.execute(BLOCKERS, named):
            blockers_of[task_id].append((pk, status))
    return [task_document(row, tags_of[row[0]], blockers_of[row[0]]) for row in rows]


def page_document(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    next_cursor = str(data[-1]["id"]) if has_more else None
    return {"data": data, "next_cursor": next_cursor, "has_more": has_more, "count": None}


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
    q: Annotated[str | None, Query(max_length=200)] = None,
    cursor: int | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> Response:
    async with reading.connect() as connection:
        tenant_id, user_id = await authenticate(connection, credentials, project)
        given = {
            "project": project,
            "status": status,
            "words": q and text_query(tenant_id, q),
            "cursor": cursor,
        }
        named = {name: value for name, value in given.items() if value is not None}
        statement = PAGES[tuple(value is not None for value in given.values())]  # type: ignore[index]
        if project is None:
            named["user"] = user_id
        named |= {"tenant": tenant_id, "limit": limit + 1}
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
        for project_id, status, count in await connection.execute(COUNTS, named):
            counts[project_id][status] = count
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
    bodies = [operation.data for operation in body.operations]
    async with engine.begin() as connection:
        tenant_id, user_id = await authenticate(connection, credentials)
        pairs = [(user_id, project_id) for project_id in body.counts()]
        pairs += [(one.assignee_id, one.project_id) for one in bodies if one.assignee_id]
        await check_assignees(connection, tenant_id, pairs)
        documents = await insert_tasks(connection, tenant_id, user_id, bodies)
    results = [
        {"index": n, "ok": True, "id": document["id"], "task": document, "problem": None}
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
    stored = (await connection.execute(SEVERAL, {"tenant": tenant_id, "ids": made})).all()
    return [task_document(row, [], []) for row in stored]  # a new task has neither


def born(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    fields = ("project_id", "number", "title", "description", "status", "priority", "assignee_id")
    return {name: [None, row[name]] for name in fields}


def event_values(
    user_id: int,
    task_id: int,
    row: Mapping[str, Any],
    verb: str,
    changes: dict[str, list[Any]],
    timestamp: datetime,
) -> dict[str, Any]:
    return {
        "tenant_id": row["tenant_id"],
        "actor_id": user_id,
        "via": "api",
        "request_id": "",
        "reason": "",
        "verb": verb,
        "subject_type": "task",
        "subject_id": task_id,
        "version": row["version"],
        "project_id": row["project_id"],
        "changes": changes,
        "created_at": timestamp,
    }


@app.patch("/api/v1/tasks/{task_id}", response_model=None)
async def update_task(task_id: int, body: TaskUpdate, credentials: Credentials) -> Response:
    async with engine.begin() as connection:
        tenant_id, user_id = await authenticate(connection, credentials)
        row = await find_task(connection, LOCKED, tenant_id, user_id, task_id)
        old = dict(zip(TASK_FIELDS, row, strict=False))
        new = {name: value for name, value in body.sent().items() if old[name] != value}
        if new:
            pairs = [(new.get("assignee_id"), old["project_id"])]
            await check_assignees(connection, tenant_id, pairs)
            await store_changes(connection, tenant_id, user_id, old, new)
            row = await find_task(connection, ONE, tenant_id, user_id, task_id)
        document = (await task_documents(connection, tenant_id, [row]))[0]
    return answer(document)


async def store_changes(
    connection: AsyncConnection,
    tenant_id: int,
    user_id: int,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
) -> None:
    timestamp = now()
    values = {**new, "version": old["version"] + 1, "updated_at": timestamp}
    if "title" in new:
        values |= {
            "title_folded": fold_key(new["title"]),
            "title_words": search_text(new["title"]),
        }
    if "status" in new:
        is_done = new["status"] == "done"
        values["completed_at"] = timestamp if is_done else None
        values["outcome"] = "completed" if is_done else None
    await connection.execute(
        update(tasks)
        .where(tasks.c.tenant_id == tenant_id, tasks.c.id == old["id"])
        .values(**values)
    )
    changes = {name: [old[name], value] for name, value in new.items()}
    row = {**old, **values, "tenant_id": tenant_id}
    event = event_values(user_id, old["id"], row, "changed", changes, timestamp)
    await connection.execute(INSERT_EVENTS, [event])
