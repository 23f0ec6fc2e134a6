"""The locks of an undo, which are taken in the order of every writer: users before projects, and
tasks before their comments.
"""

from __future__ import annotations

from collections.abc import Sequence

from accounts.models import User
from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.models import Event
from taskflow.audit.resource_types import model_of_field
from tasks.models import Comment, Task


def lock_users_of_events(events: Sequence[Event]) -> None:
    """Lock the users that an undo changes, or that get something back, before the projects."""
    changed = {event.subject_id for event in events if event.subject_type == "user"}
    named = {
        pk
        for event in events
        for name, values in event.changes.items()
        if model_of_field(event.subject_type, name) is User
        for pk in values
        if isinstance(pk, int)
    }
    for ids, mode in ((changed, LockMode.UPDATE), (named - changed, LockMode.SHARE)):
        if ids:
            rows = User.objects.filter(pk__in=sorted(ids)).order_by("pk")
            list(add_row_lock(rows, mode).values_list("pk"))


def lock_tasks_of_comments(events: Sequence[Event]) -> None:
    """Lock the tasks of comments that an undo changes, together with the other tasks that it
    changes: a change of a comment writes to its task. Two queries, and none without comments.
    """
    comments = {event.subject_id for event in events if event.subject_type == "comment"}
    if not comments:
        return
    ids = {event.subject_id for event in events if event.subject_type == "task"}
    ids |= set(Comment.everything.filter(pk__in=comments).values_list("task_id", flat=True))
    tasks = Task.everything.filter(pk__in=sorted(ids)).order_by("pk")
    list(add_row_lock(tasks, LockMode.UPDATE).values_list("pk"))
