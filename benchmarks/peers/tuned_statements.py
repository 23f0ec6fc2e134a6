"""The statements of the tuned stack, built once."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from sqlalchemy import and_, bindparam, cast, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import TSQUERY

from benchmarks.peers.documents import PAGE
from benchmarks.peers.schema import (
    ApiToken,
    Event,
    Project,
    ProjectMember,
    Tag,
    Task,
    TaskBlocker,
    TaskCountDelta,
    TaskTag,
    User,
)

tokens, users, members = ApiToken.__table__, User.__table__, ProjectMember.__table__
projects, tasks, events = Project.__table__, Task.__table__, Event.__table__
tags, task_tags, blockers = Tag.__table__, TaskTag.__table__, TaskBlocker.__table__
deltas = TaskCountDelta.__table__
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
LOCKED_IDS = (
    VISIBLE.where(tasks.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(tasks.c.id)
    .with_for_update(of=tasks)
)
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
BLOCKING = tasks.alias("blocking")
IS_READY = and_(
    tasks.c.status != "done",
    projects.c.status != "archived",
    ~exists().where(
        blockers.c.tenant_id == tasks.c.tenant_id,
        blockers.c.task_id == tasks.c.id,
        references(blockers, "blocker_id", BLOCKING),
        BLOCKING.c.status != "done",
        BLOCKING.c.deleted_at.is_(None),
    ),
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
COUNTS = (
    select(deltas.c.project_id, *(func.sum(deltas.c[name]) for name in COUNT_NAMES))
    .where(
        deltas.c.tenant_id == bindparam("tenant"),
        deltas.c.project_id.in_(bindparam("ids", expanding=True)),
    )
    .group_by(deltas.c.project_id)
)
TAKE_NUMBERS = (
    update(projects)
    .where(projects.c.tenant_id == bindparam("tenant"), projects.c.id == bindparam("project"))
    .values(last_number=projects.c.last_number + bindparam("count"))
    .returning(projects.c.last_number)
)
# Which columns are set is read from the values.
UPDATE_TASK = update(tasks).where(
    tasks.c.tenant_id == bindparam("tenant"), tasks.c.id == bindparam("row")
)
INSERT_TASKS = insert(tasks).returning(tasks.c.id, sort_by_parameter_order=True)
INSERT_EVENTS = insert(events)
INSERT_DELTAS = insert(deltas)


def page_statement(given: frozenset[str]) -> Any:
    """Return the statement for a page with these filters."""
    rows = ROWS if "project" in given else VISIBLE
    conditions = {
        "project": tasks.c.project_id == bindparam("project"),
        "status": tasks.c.status == bindparam("status"),
        "assignee": tasks.c.assignee_id == bindparam("user"),
        "ready": IS_READY,
        "words": tasks.c.search.op("@@")(cast(bindparam("words"), TSQUERY)),
        "cursor": tasks.c.id < bindparam("cursor"),
    }
    rows = rows.where(*(conditions[name] for name in FILTERS if name in given))
    return rows.order_by(tasks.c.id.desc()).limit(bindparam("limit"))


FILTERS = ("project", "status", "assignee", "ready", "words", "cursor")
PAGES = {
    given: page_statement(given)
    for count in range(len(FILTERS) + 1)
    for given in map(frozenset, combinations(FILTERS, count))
}
