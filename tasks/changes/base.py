"""The base classes of changes of tasks. docs/contributing.md describes how to add a verb."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.values import FieldValues
from tasks.models import Project, Status, Task

if TYPE_CHECKING:
    from tasks.changes.context import Context


@dataclass(frozen=True)
class Needs:
    """What the context must load or lock before it checks a change."""

    assignee: User | None = None  # the new assignee
    blockers: Sequence[Task] = ()  # the new blockers
    parent: Task | None = None  # the new parent
    project: Project | None = None  # the new project
    external_ref: str | None = None  # the new external_ref
    tag_names: Sequence[str] = ()  # names of tags to find, or to create if they are missing
    open_parent_id: int | None = None  # the parent that must not be done
    graph_lock: bool = False  # one change at a time of the tenant's blockers and moves


NO_NEEDS = Needs()
LINK_FIELDS = frozenset(
    {"tags", "blocked_by"}
)  # many-to-many: the recorder locks and compares them


@dataclass(eq=False)
class TaskChange:
    """One change of one task. Each subclass is one verb and declares everything about it.

    The planner locks and refreshes the columns in `locks`, calls check() and then apply(), and
    records the values that differ as `event`. If `with_subtasks` is set, it does the same for every
    task below the task.
    """

    task: Task

    operation: ClassVar[str | None] = None  # the name in bulk requests; None if not offered there
    event: ClassVar[str] = "changed"  # recorded as task.<event>
    sentence: ClassVar[str | None] = None  # predicate in history; None lists the changed fields
    inverse: ClassVar[str | None] = None  # the verb that undoing it is recorded as
    # The verb of an undo that sets a field to a value, where it is not `inverse`.
    inverses_by_value: ClassVar[Mapping[tuple[str, str], str]] = {}
    # The sentences of further verbs that event_for() returns. Their inverse is the same.
    other_sentences: ClassVar[Mapping[str, str]] = {}
    locks: ClassVar[Sequence[str]] = ()  # columns that check() reads or apply() sets
    with_subtasks: ClassVar[bool] = False
    reads_tags: ClassVar[bool] = False  # whether check() or apply() calls context.tags_of()

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        """Return the change for an operation of a bulk request.

        `values` are its `data` with ids resolved to rows; `force` is False if it was not sent.
        """
        return cls(task)

    def needs(self, actor: Actor) -> Needs:
        """Return what the context must load or lock for this actor, before any lock is taken."""
        return NO_NEEDS

    def columns_to_lock(self) -> Sequence[str]:
        """Return the columns to lock. They are `locks` unless they depend on the values."""
        return self.locks

    def event_for(self, task: Task) -> str:
        """Return the verb to record. `task` still has the values from before the change."""
        return self.event

    def check(self, task: Task, context: Context) -> None:
        """Raise a Problem if the change is not allowed. Must not change anything."""

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        """Return the new values by field name, or an empty dict to change nothing."""
        raise NotImplementedError

    def parts(self) -> Iterable[tuple[str, TaskChange]]:
        """Return changes that each have the fields of one rule, with the name of a field.

        Empty if one rule reads all fields of the change.
        """
        return ()

    @property
    def values(self) -> FieldValues:
        """The values that the client sent, by field name."""
        return {}


@dataclass(eq=False)
class ForcedChange(TaskChange):
    """A change that open subtasks or blockers, or a done parent, prevent unless `force` is set.

    check() may call context.check_no_open_work() if `completes` is true.
    """

    force: bool = field(default=False, kw_only=True)

    @property
    def completes(self) -> bool:
        """Whether the task is done after the change."""
        return self.values.get("status") == Status.DONE

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        return cls(task, force=force)
