"""What the usual stack reads with, and its requests that read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Select, and_, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased, joinedload, selectinload

from benchmarks.peers.documents import (
    PAGE,
    ProjectPage,
    Status,
    TaskPage,
    TaskResponse,
    read_token,
    text_query,
)
from benchmarks.peers.schema import (
    ApiToken,
    Project,
    ProjectMember,
    Task,
    TaskBlocker,
    User,
    make_engine,
    now,
    references,
)

router = APIRouter()
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


def is_ready() -> Any:
    """The condition that a task is open, that no open task blocks it, and that its project is not
    archived.
    """
    blocker = aliased(Task)
    blocked = (
        select(TaskBlocker.id)
        .join(blocker, references(TaskBlocker, TaskBlocker.blocker_id, blocker))
        .where(
            TaskBlocker.tenant_id == Task.tenant_id,
            TaskBlocker.task_id == Task.id,
            blocker.status != "done",
            blocker.deleted_at.is_(None),
        )
    )
    return and_(Task.status != "done", Project.status != "archived", ~blocked.exists())


async def load_task(session: AsyncSession, user: User, task_id: int, *, lock: bool = False) -> Task:
    rows = visible_tasks(user).options(*DETAILS).where(Task.id == task_id)
    if lock:
        rows = rows.with_for_update(of=Task)
    task = await session.scalar(rows)
    if task is None:
        raise HTTPException(404, "There is no such task.")
    return task


@router.get("/api/v1/tasks", response_model=TaskPage)
async def list_tasks(
    session: Db,
    user: CurrentUser,
    project: int | None = None,
    status: Status | None = None,
    assignee: Literal["me"] | None = None,
    ready: bool | None = None,
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
        rows = (
            select(Task)
            .join(Project, references(Task, Task.project_id, Project))
            .where(
                Task.tenant_id == user.tenant_id,
                Task.project_id == project,
                Task.deleted_at.is_(None),
            )
        )
    if status is not None:
        rows = rows.where(Task.status == status)
    if assignee is not None:
        rows = rows.where(Task.assignee_id == user.id)
    if ready is not None:
        rows = rows.where(is_ready() if ready else ~is_ready())
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


@router.get("/api/v1/tasks/{task_id}", response_model=TaskResponse)
async def get_task(task_id: int, session: Db, user: CurrentUser) -> Any:
    return await load_task(session, user, task_id)


@router.get("/api/v1/projects", response_model=ProjectPage)
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
