"""Add tags to a task, or remove tags from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskflow.audit.actor import Actor
from taskflow.audit.values import FieldValues
from taskflow.db.text import fold_key
from tasks.changes.base import Needs, TaskChange
from tasks.changes.context import Context, check_tag_count
from tasks.models import Tag, Task


@dataclass(eq=False)
class TagTask(TaskChange):
    """Add tags to a task and keep the tags that it has. Tags that do not exist are created.

    Raises Invalid if the task would have more than MAX_TAGS tags.
    """

    names: Sequence[str]

    operation = "tag"
    reads_tags = True

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        return cls(task, values["tags"])

    def needs(self, actor: Actor) -> Needs:
        return Needs(tag_names=self.names)

    def check(self, task: Task, context: Context) -> None:
        check_tag_count(len(self._tags_after(task, context)), len(context.tags_of(task)))

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return {"tags": list(self._tags_after(task, context).values())}

    def _tags_after(self, task: Task, context: Context) -> dict[int, Tag]:
        return context.tags_of(task) | {tag.pk: tag for tag in context.get_loaded_tags(self.names)}


@dataclass(eq=False)
class UntagTask(TaskChange):
    """Remove tags from a task, by name without regard to case. Other names are ignored."""

    names: Sequence[str]

    operation = "untag"
    reads_tags = True

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        return cls(task, values["tags"])

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        removed = {fold_key(name) for name in self.names}
        tags = context.tags_of(task).values()
        return {"tags": [tag for tag in tags if fold_key(tag.name) not in removed]}
