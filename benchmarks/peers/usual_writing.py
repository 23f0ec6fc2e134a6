"""The requests of the usual stack that write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from benchmarks.peers.documents import (
    TaskBulk,
    TaskBulkResponse,
    TaskCreate,
    TaskResponse,
    TaskUpdate,
    UpdateOperation,
    searched,
)
from benchmarks.peers.schema import Event, Project, Task, User, now
from benchmarks.peers.usual_reading import (
    DETAILS,
    CurrentUser,
    Db,
    load_task,
    require_member,
    visible_tasks,
)
from taskflow.db.text import fold_key, search_text

router = APIRouter()


# ---- new tasks ----------------------------------------------------------------------------------


async def create_tasks(
    session: AsyncSession, user: User, bodies: Sequence[TaskCreate]
) -> list[Task]:
    """Create the tasks with their events. Return them without reading them again."""
    ids = [body.project_id for body in bodies]
    projects: dict[int, Project] = {}
    for project_id in sorted(set(ids)):
        await require_member(session, user.id, user.tenant_id, project_id)
        count = ids.count(project_id)
        projects[project_id] = await take_numbers(session, user.tenant_id, project_id, count)
    numbers = {pk: project.last_number - ids.count(pk) for pk, project in projects.items()}
    tasks = []
    for body in bodies:
        assignee = None
        if body.assignee_id is not None:
            assignee = await require_member(
                session, body.assignee_id, user.tenant_id, body.project_id, 422
            )
        numbers[body.project_id] += 1
        task = new_task(user, body, numbers[body.project_id])
        set_committed_value(task, "project", projects[body.project_id])
        set_committed_value(task, "assignee", assignee)
        tasks.append(task)
    session.add_all(tasks)
    await session.flush()
    session.add_all([born(user, task) for task in tasks])
    await session.commit()
    return tasks


async def take_numbers(
    session: AsyncSession, tenant_id: int, project_id: int, count: int
) -> Project:
    """Reserve as many task numbers. Return the project, whose last number is the last of them."""
    project = await session.scalar(
        update(Project)
        .where(Project.id == project_id, Project.tenant_id == tenant_id)
        .values(last_number=Project.last_number + count)
        .returning(Project)
    )
    if project is None:
        raise HTTPException(404, "There is no such project.")
    return project


def new_task(user: User, body: TaskCreate, number: int) -> Task:
    task = Task(
        tenant_id=user.tenant_id,
        created_by_id=user.id,
        number=number,
        **body.model_dump(),
        **searched(body.title, body.description),
    )
    set_committed_value(task, "created_by", user)
    for name in ("tags", "blockers"):  # a new task has neither
        set_committed_value(task, name, [])
    return task


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


# ---- changes ------------------------------------------------------------------------------------


async def apply_changes(
    session: AsyncSession, user: User, task: Task, sent: dict[str, Any]
) -> None:
    """Set the values of a locked task, and add the event. A task that has them stays unchanged."""
    values = {n: v for n, v in sent.items() if getattr(task, n) != v}
    if not values:
        return
    changes = {name: [getattr(task, name), value] for name, value in values.items()}
    if "assignee_id" in values:
        assignee_id, assignee = values["assignee_id"], None
        if assignee_id is not None:
            assignee = await require_member(
                session, assignee_id, user.tenant_id, task.project_id, 422
            )
        set_committed_value(task, "assignee", assignee)
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


async def change_task(
    session: AsyncSession, user: User, task_id: int, sent: dict[str, Any]
) -> Task:
    task = await load_task(session, user, task_id, lock=True)
    await apply_changes(session, user, task, sent)
    await session.commit()
    return task


async def change_tasks(
    session: AsyncSession, user: User, updates: Sequence[UpdateOperation]
) -> list[Task]:
    rows = await session.scalars(
        visible_tasks(user)
        .options(*DETAILS)
        .where(Task.id.in_([update.id for update in updates]))
        .order_by(Task.id)
        .with_for_update(of=Task)
    )
    tasks = {task.id: task for task in rows}
    if len(tasks) < len(updates):
        raise HTTPException(404, "There is no such task.")
    for one in updates:
        await apply_changes(session, user, tasks[one.id], one.data.sent())
    await session.commit()
    return [tasks[one.id] for one in updates]


# ---- requests -----------------------------------------------------------------------------------


@router.post("/api/v1/tasks", response_model=TaskResponse, status_code=201)
async def create_task(body: TaskCreate, session: Db, user: CurrentUser) -> Any:
    (task,) = await create_tasks(session, user, [body])
    return task


@router.patch("/api/v1/tasks/{task_id}", response_model=TaskResponse)
async def update_task(task_id: int, body: TaskUpdate, session: Db, user: CurrentUser) -> Any:
    return await change_task(session, user, task_id, body.sent())


@router.post("/api/v1/tasks/{task_id}/completion", response_model=TaskResponse)
async def complete_task(task_id: int, session: Db, user: CurrentUser) -> Any:
    return await change_task(session, user, task_id, {"status": "done"})


@router.delete("/api/v1/tasks/{task_id}/completion", response_model=TaskResponse)
async def reopen_task(task_id: int, session: Db, user: CurrentUser) -> Any:
    return await change_task(session, user, task_id, {"status": "todo"})


@router.post("/api/v1/tasks/bulk", response_model=TaskBulkResponse)
async def bulk_edit_tasks(body: TaskBulk, session: Db, user: CurrentUser) -> Any:
    if updates := body.updated():
        tasks = await change_tasks(session, user, updates)
    else:
        tasks = await create_tasks(session, user, body.created())
    results = [
        {"index": n, "id": task.id, "key": task.key, "task": task} for n, task in enumerate(tasks)
    ]
    return {"succeeded": len(results), "results": results}
