"""The usual stack as a good engineer writes it: FastAPI, SQLAlchemy's async ORM, asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Select, case, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import joinedload, selectinload

from benchmarks.peers.documents import (
    PAGE,
    ProjectPage,
    Status,
    TaskBulk,
    TaskBulkResponse,
    TaskCreate,
    TaskPage,
    TaskResponse,
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
    Task,
    User,
    make_engine,
    now,
    references,
)
from taskflow.db.text import fold_key, search_text

app = FastAPI()
bearer = HTTPBearer()
make_session = async_sessionmaker(make_engine(), expire_on_commit=False)

DETAILS = (
    joinedload(Task.project),
    joinedload(Task.assignee),
    joinedload(Task.created_by),
    selectinload(Task.tags),
    selectinload(Task.blockers),
)


SORTS: dict[str, list[Any]] = {
    "-created_at": [Task.created_at.desc(), Task.id.desc()],
    "due_on": [Task.due_on.asc().nulls_last(), Task.id],
    "-priority": [Task.priority_rank.desc(), Task.id.desc()],
    "title": [Task.title, Task.id],
    "-priority,due_date": [Task.priority_rank.desc(), Task.due_date.asc().nulls_last(), Task.id],
}


# ---- authentication -----------------------------------------------------------------------------


async def open_session() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


Db = Annotated[AsyncSession, Depends(open_session)]


async def find_user(
    session: Db, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]
) -> User:
    tenant_id, digest = read_token(credentials.credentials)
    token = await session.scalar(
        select(ApiToken)
        .options(joinedload(ApiToken.user))
        .where(
            ApiToken.tenant_id == tenant_id,
            ApiToken.digest == digest,
            ApiToken.revoked_at.is_(None),
            or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now()),
        )
    )
    if token is None or not token.user.is_active:
        raise HTTPException(401, "The token is unknown, expired or revoked.")
    return token.user


CurrentUser = Annotated[User, Depends(find_user)]


async def require_member(
    session: AsyncSession, user_id: int, tenant_id: int, project_id: int, status: int = 404
) -> User:
    """Return the user if the user is a member of the project; otherwise raise this status."""
    user = await session.scalar(
        select(User)
        .join(ProjectMember, references(ProjectMember, ProjectMember.user_id, User))
        .join(Project, references(ProjectMember, ProjectMember.project_id, Project))
        .where(
            ProjectMember.tenant_id == tenant_id,
            ProjectMember.project_id == project_id,
            ProjectMember.user_id == user_id,
            Project.deleted_at.is_(None),
        )
    )
    if user is None:
        raise HTTPException(status, "Not in this project.")
    return user


# ---- reading ------------------------------------------------------------------------------------


def visible_tasks(user: User) -> Select[tuple[Task]]:
    return (
        select(Task)
        .join(Project, references(Task, Task.project_id, Project))
        .join(ProjectMember, references(ProjectMember, ProjectMember.project_id, Project))
        .where(
            Task.tenant_id == user.tenant_id,
            Task.deleted_at.is_(None),
            Project.deleted_at.is_(None),
            ProjectMember.tenant_id == user.tenant_id,
            ProjectMember.user_id == user.id,
        )
    )


async def load_task(session: AsyncSession, user: User, task_id: int, *, lock: bool = False) -> Task:
    rows = visible_tasks(user).options(*DETAILS).where(Task.id == task_id)
    if lock:
        rows = rows.with_for_update(of=Task)
    task = await session.scalar(rows)
    if task is None:
        raise HTTPException(404, "There is no such task.")
    return task


@app.get("/api/v1/tasks", response_model=TaskPage)
async def list_tasks(
    session: Db,
    user: CurrentUser,
    project: int | None = None,
    status: Status | None = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
    cursor: int | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
    sort: Literal["-created_at", "due_on", "-priority", "title", "-priority,due_date"]
    | None = None,
) -> Any:
    if project is None:
        rows = visible_tasks(user)
    else:
        await require_member(session, user.id, user.tenant_id, project)
        rows = select(Task).where(
            Task.tenant_id == user.tenant_id,
            Task.project_id == project,
            Task.deleted_at.is_(None),
        )
    if status is not None:
        rows = rows.where(Task.status == status)
    if q is not None:
        query = cast(text_query(user.tenant_id, q), TSQUERY)
        rows = rows.where(Task.search.op("@@")(query))
    if cursor is not None:
        rows = rows.where(Task.id < cursor)
    order = [Task.id.desc()] if sort is None else SORTS[sort]
    rows = rows.options(*DETAILS).order_by(*order).limit(limit + 1)
    loaded = (await session.scalars(rows)).all()
    page, has_more = loaded[:limit], len(loaded) > limit
    next_cursor = str(page[-1].id) if has_more else None
    return {"data": page, "next_cursor": next_cursor, "has_more": has_more}


@app.get("/api/v1/tasks/{task_id}", response_model=TaskResponse)
async def get_task(task_id: int, session: Db, user: CurrentUser) -> Any:
    return await load_task(session, user, task_id)


@app.get("/api/v1/projects", response_model=ProjectPage)
async def list_projects(session: Db, user: CurrentUser) -> Any:
    rows = (
        select(Project, ProjectMember.role)
        .join(ProjectMember, references(ProjectMember, ProjectMember.project_id, Project))
        .options(joinedload(Project.owner))
        .where(
            ProjectMember.tenant_id == user.tenant_id,
            ProjectMember.user_id == user.id,
            Project.deleted_at.is_(None),
        )
        .order_by(Project.id.desc())
        .limit(PAGE + 1)
    )
    loaded = (await session.execute(rows)).all()
    page, has_more = loaded[:PAGE], len(loaded) > PAGE
    counts = await count_tasks(session, user, [project.id for project, _ in page])
    data = [
        {
            "id": project.id,
            "key": project.key,
            "name": project.name,
            "description": project.description,
            "status": project.status,
            "metadata": project.details,
            "owner_id": project.owner_id,
            "owner": project.owner,
            "role": role,
            "task_counts": counts[project.id],
            "version": project.version,
            "created_at": project.created_at,
            "updated_at": project.updated_at,
        }
        for project, role in page
    ]
    next_cursor = str(data[-1]["id"]) if has_more else None
    return {"data": data, "next_cursor": next_cursor, "has_more": has_more}


async def count_tasks(
    session: AsyncSession, user: User, project_ids: list[int]
) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = {pk: {} for pk in project_ids}
    counted_as = case((Task.outcome == "cancelled", "cancelled"), else_=Task.status)
    rows = (
        select(Task.project_id, counted_as, func.count())
        .where(
            Task.tenant_id == user.tenant_id,
            Task.project_id.in_(project_ids),
            Task.deleted_at.is_(None),
        )
        .group_by(Task.project_id, counted_as)
    )
    for project_id, status, count in await session.execute(rows):
        counts[project_id][status] = count
    return counts


# ---- writing ------------------------------------------------------------------------------------


async def take_numbers(session: AsyncSession, tenant_id: int, project_id: int, count: int) -> int:
    """Reserve as many task numbers; return the first."""
    last = await session.scalar(
        update(Project)
        .where(Project.id == project_id, Project.tenant_id == tenant_id)
        .values(last_number=Project.last_number + count)
        .returning(Project.last_number)
    )
    if last is None:
        raise HTTPException(404, "There is no such project.")
    return last - count + 1


def new_task(user: User, body: TaskCreate, number: int) -> Task:
    return Task(
        tenant_id=user.tenant_id,
        created_by_id=user.id,
        number=number,
        **body.model_dump(),
        **searched(body.title, body.description),
    )


def born(user: User, task: Task) -> Event:
    fields = ("project_id", "number", "title", "description", "status", "priority", "assignee_id")
    return event_of(user, task, "created", {name: [None, getattr(task, name)] for name in fields})


def event_of(user: User, task: Task, verb: str, changes: dict[str, Any]) -> Event:
    return Event(
        tenant_id=user.tenant_id,
        actor_id=user.id,
        verb=verb,
        subject_id=task.id,
        version=task.version,
        project_id=task.project_id,
        changes=changes,
    )


@app.post("/api/v1/tasks", response_model=TaskResponse, status_code=201)
async def create_task(body: TaskCreate, session: Db, user: CurrentUser) -> Any:
    await require_member(session, user.id, user.tenant_id, body.project_id)
    if body.assignee_id is not None:
        await require_member(session, body.assignee_id, user.tenant_id, body.project_id, 422)
    number = await take_numbers(session, user.tenant_id, body.project_id, 1)
    task = new_task(user, body, number)
    session.add(task)
    await session.flush()
    session.add(born(user, task))
    await session.commit()
    return await session.scalar(
        select(Task)
        .options(*DETAILS)
        .where(Task.id == task.id)
        .execution_options(populate_existing=True)
    )


@app.patch("/api/v1/tasks/{task_id}", response_model=TaskResponse)
async def update_task(task_id: int, body: TaskUpdate, session: Db, user: CurrentUser) -> Any:
    task = await load_task(session, user, task_id, lock=True)
    values = {n: v for n, v in body.sent().items() if getattr(task, n) != v}
    if not values:
        return task
    changes = {name: [getattr(task, name), value] for name, value in values.items()}
    assignee_id = values.pop("assignee_id", None)
    if assignee_id is not None:
        task.assignee = await require_member(
            session, assignee_id, user.tenant_id, task.project_id, 422
        )
    elif "assignee_id" in changes:
        task.assignee = None
    for name, value in values.items():
        setattr(task, name, value)
    if "title" in values:
        task.title_folded, task.title_words = fold_key(task.title), search_text(task.title)
    task.version += 1
    task.updated_at = now()
    if "status" in changes:
        task.completed_at = task.updated_at if task.completed else None
        task.outcome = "completed" if task.completed else None
    session.add(event_of(user, task, "changed", changes))
    await session.commit()
    return task


@app.post("/api/v1/tasks/bulk", response_model=TaskBulkResponse)
async def bulk_edit_tasks(body: TaskBulk, session: Db, user: CurrentUser) -> Any:
    numbers: dict[int, int] = {}
    for project_id, count in body.counts().items():
        await require_member(session, user.id, user.tenant_id, project_id)
        numbers[project_id] = await take_numbers(session, user.tenant_id, project_id, count)
    tasks = []
    for operation in body.operations:
        project_id, assignee_id = operation.data.project_id, operation.data.assignee_id
        if assignee_id is not None:
            await require_member(session, assignee_id, user.tenant_id, project_id, 422)
        tasks.append(new_task(user, operation.data, numbers[project_id]))
        numbers[project_id] += 1
    session.add_all(tasks)
    await session.flush()
    session.add_all([born(user, task) for task in tasks])
    await session.commit()
    ids = [task.id for task in tasks]
    loaded = await session.scalars(
        select(Task)
        .options(*DETAILS)
        .where(Task.id.in_(ids))
        .execution_options(populate_existing=True)
    )
    rows = {task.id: task for task in loaded}
    results = [{"index": n, "id": pk, "task": rows[pk]} for n, pk in enumerate(ids)]
    return {"succeeded": len(results), "results": results}
