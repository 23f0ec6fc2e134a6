"""SQLAlchemy's view of TaskFlow's tables: the columns that the benchmark's requests need."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    FetchedValue,
    ForeignKeyConstraint,
    Integer,
    TypeDecorator,
    and_,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column, relationship

from benchmarks.peers.settings import CONNECTIONS, DATABASE_URL

IS_SQLITE = DATABASE_URL.startswith("sqlite:")


def make_engine(**options: Any) -> AsyncEngine:
    url = DATABASE_URL.replace("postgresql://", "postgresql+asyncpg://", 1)
    url = url.replace("sqlite://", "sqlite+aiosqlite://", 1)
    return create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, **options)


def now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite stores times without their offset. They are in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=None) if value and IS_SQLITE else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and IS_SQLITE else value


class Base(DeclarativeBase):
    type_annotation_map = {
        int: BigInteger,
        datetime: UtcDateTime if IS_SQLITE else DateTime(timezone=True),
        dict[str, Any]: JSON if IS_SQLITE else JSONB,
        list[Any]: JSON if IS_SQLITE else JSONB,
    }


def foreign_keys(**tables: str) -> tuple[ForeignKeyConstraint, ...]:
    """From each column, with the tenant, to its table: the key of each table is (tenant_id, id)."""
    return tuple(
        ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"])
        for column, table in tables.items()
    )


def references(row: Any, column: Any, table: Any) -> Any:
    """The join from a row's column to the table."""
    return and_(table.tenant_id == row.tenant_id, table.id == column)


class User(Base):
    __tablename__ = "accounts_user"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    kind: Mapped[str]
    handle: Mapped[str]
    email: Mapped[str | None]
    full_name: Mapped[str]
    responsible_id: Mapped[int | None]
    is_active: Mapped[bool]


class ApiToken(Base):
    __tablename__ = "accounts_apitoken"
    __table_args__ = foreign_keys(user_id="accounts_user")

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    user_id: Mapped[int]
    digest: Mapped[str]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="raise", viewonly=True)


class Project(Base):
    __tablename__ = "tasks_project"
    __table_args__ = foreign_keys(owner_id="accounts_user")

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    status: Mapped[str]
    # `metadata` is a name of SQLAlchemy's own
    details: Mapped[dict[str, Any]] = mapped_column("metadata")
    owner_id: Mapped[int]
    last_number: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    owner: Mapped[User] = relationship(lazy="raise", viewonly=True)


class ProjectMember(Base):
    __tablename__ = "tasks_projectmember"
    __table_args__ = foreign_keys(project_id="tasks_project", user_id="accounts_user")

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    project_id: Mapped[int]
    user_id: Mapped[int]
    role: Mapped[str]


class Tag(Base):
    __tablename__ = "tasks_tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    name: Mapped[str]
    color: Mapped[str | None]


class TaskTag(Base):
    __tablename__ = "tasks_tasktag"
    __table_args__ = foreign_keys(task_id="tasks_task", tag_id="tasks_tag")

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    task_id: Mapped[int]
    tag_id: Mapped[int]


class TaskBlocker(Base):
    __tablename__ = "tasks_taskblocker"
    __table_args__ = foreign_keys(task_id="tasks_task", blocker_id="tasks_task")

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    task_id: Mapped[int]
    blocker_id: Mapped[int]


class Task(Base):
    __tablename__ = "tasks_task"
    __table_args__ = foreign_keys(
        project_id="tasks_project", assignee_id="accounts_user", created_by_id="accounts_user"
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column()
    __mapper_args__ = {"primary_key": [tenant_id, id]}  # an UPDATE names both
    project_id: Mapped[int]
    number: Mapped[int] = mapped_column(Integer)
    title: Mapped[str]
    title_folded: Mapped[str]
    title_words: Mapped[str]
    description_words: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    status: Mapped[str] = mapped_column(default="todo")
    outcome: Mapped[str | None]
    priority: Mapped[str] = mapped_column(default="medium")
    # Generated by the database; sorted by, never read.
    priority_rank: Mapped[int | None] = deferred(mapped_column(FetchedValue()))
    assignee_id: Mapped[int | None] = mapped_column()
    created_by_id: Mapped[int | None] = mapped_column()
    parent_id: Mapped[int | None]
    due_date: Mapped[datetime | None]
    due_on: Mapped[date | None]
    links: Mapped[list[Any]] = mapped_column(default=list)
    details: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    external_ref: Mapped[str | None]
    version: Mapped[int] = mapped_column(Integer, default=1)
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]
    # Generated by the database.
    last_activity_at: Mapped[datetime] = mapped_column(FetchedValue())
    if not IS_SQLITE:
        # Generated by the database; used in conditions, never read.
        search: Mapped[Any] = deferred(mapped_column(TSVECTOR, server_default=""))

    project: Mapped[Project] = relationship(lazy="raise", viewonly=True)
    assignee: Mapped[User | None] = relationship(
        primaryjoin=lambda: references(Task, Task.assignee_id, User),
        foreign_keys=[assignee_id],
        lazy="raise",
        viewonly=True,
    )
    created_by: Mapped[User | None] = relationship(
        primaryjoin=lambda: references(Task, Task.created_by_id, User),
        foreign_keys=[created_by_id],
        lazy="raise",
        viewonly=True,
    )
    tags: Mapped[list[Tag]] = relationship(
        secondary="tasks_tasktag", lazy="raise", order_by="Tag.name, Tag.id", viewonly=True
    )
    blockers: Mapped[list[Task]] = relationship(
        secondary="tasks_taskblocker",
        primaryjoin=lambda: references(TaskBlocker, TaskBlocker.task_id, Task),
        secondaryjoin=lambda: (
            references(TaskBlocker, TaskBlocker.blocker_id, Task) & Task.deleted_at.is_(None)
        ),
        lazy="raise",
        order_by="Task.id",
        viewonly=True,
    )

    @property
    def key(self) -> str:
        return f"{self.project.key}-{self.number}"

    @property
    def completed(self) -> bool:
        return self.status == "done"

    @property
    def ready(self) -> bool:
        return not self.completed and all(blocker.completed for blocker in self.blockers)

    @property
    def blocked_by(self) -> list[int]:
        return [blocker.id for blocker in self.blockers]


class TaskCountDelta(Base):
    """The difference that a write makes to the stored task counts of a project."""

    __tablename__ = "tasks_taskcountdelta"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    project_id: Mapped[int]
    todo: Mapped[int] = mapped_column(Integer)
    in_progress: Mapped[int] = mapped_column(Integer)
    done: Mapped[int] = mapped_column(Integer)
    cancelled: Mapped[int] = mapped_column(Integer)


class Event(Base):
    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    actor_id: Mapped[int | None]
    via: Mapped[str] = mapped_column(default="api")
    request_id: Mapped[str] = mapped_column(default="")
    reason: Mapped[str] = mapped_column(default="")
    verb: Mapped[str]
    subject_type: Mapped[str] = mapped_column(default="task")
    subject_id: Mapped[int]
    version: Mapped[int] = mapped_column(Integer)
    project_id: Mapped[int | None]
    changes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
