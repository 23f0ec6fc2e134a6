"""What a change of a task declares. docs/contributing.md says how to add one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from accounts.models import User
from taskflow.audit.actor import Actor
from tasks.models import Project, Status, Task

if TYPE_CHECKING:
    from tasks.changes.context import Context


@dataclass(frozen=True)
class Needs:
    """What the context loads, or locks, before a change is checked."""

    assignee: User | None = None  # about to be given the task
    blockers: Sequence[Task] = ()
    parent: Task | None = None
    project: Project | None = None  # about to receive the task
    external_ref: str | None = None
    tag_names: Sequence[str] = ()  # missing tags are created
    serializes: bool = False  # wait for the other changes of the tenant's graph of tasks


NOTHING = Needs()


@dataclass(eq=False)
class TaskChange:
    """One thing to do to a task. A subclass is one verb, with all that the verb is.

    The planner locks the columns in `locks` and refreshes them, calls check() and then apply(), and
    records what differs as `event`. With `with_subtasks` it does so for each task below as well.
    """

    task: Task

    operation: ClassVar[str | None] = None  # its name in bulk requests
    event: ClassVar[str] = "changed"  # recorded as task.<event>
    sentence: ClassVar[str | None] = None  # in history; None lists the fields
    inverse: ClassVar[str | None] = None  # the verb of an undo, if it has one
    locks: ClassVar[Sequence[str]] = ()  # columns that check() reads or apply() sets
    with_subtasks: ClassVar[bool] = False
    reads_tags: ClassVar[bool] = False  # context.tags_of() has the tags of the task

    @classmethod
    def build(cls, task: Task, values: Mapping[str, Any], *, force: bool) -> TaskChange:
        """Make the change of what an operation of a bulk request holds."""
        return cls(task)

    def needs(self, actor: Actor) -> Needs:
        """Return what the context has to load or lock for this actor. Called before anything is
        locked.
        """
        return NOTHING

    def columns(self) -> Sequence[str]:
        """The columns to lock; `locks` where they do not depend on the values."""
        return self.locks

    def event_of(self, task: Task) -> str:
        """The verb to record, given the task before the change."""
        return self.event

    def check(self, task: Task, context: Context) -> None:
        """Raise a Problem when the change is not allowed. Must not change anything."""

    def apply(self, task: Task, context: Context) -> dict[str, Any]:
        """Return the new values by field name; none of them if nothing is to be changed."""
        raise NotImplementedError

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that the caller sent."""
        return {}


@dataclass(eq=False)
class ForcedChange(TaskChange):
    """A change that open subtasks or blockers may prevent, unless `force` is set.

    If it completes the task, check() may call context.check_no_open_work().
    """

    force: bool = field(default=False, kw_only=True)

    @property
    def completes(self) -> bool:
        """Whether the task is done after the change."""
        return self.values.get("status") == Status.DONE

    @classmethod
    def build(cls, task: Task, values: Mapping[str, Any], *, force: bool) -> TaskChange:
        return cls(task, force=force)
