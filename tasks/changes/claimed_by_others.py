"""Which changes of a set an agent may not make, because others have claimed the tasks."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models

from accounts.models import UserKind
from taskflow.audit.actor import Actor
from taskflow.audit.links import read_linked_ids
from taskflow.audit.merge_patch import merge_if_patch
from taskflow.audit.values import FieldValues, are_equal_as_json, as_recorded, read_column
from tasks.changes.base import LINK_FIELDS
from tasks.models import Task
from tasks.models.claim_checks import build_claimed
from tasks.models.claims import Claim, lock_claims


class TasksClaimedByOthers:
    """The locked tasks that an agent may not change: those with an open claim that the request
    does not name.

    The recorder refuses a whole set of changes for one such task. This class refuses single
    changes before anything is written, so that the others can be carried out. One statement if the
    actor is an agent and one of the tasks is claimed, and one more for each many-to-many field that
    a change of such a task sets. Otherwise none.
    """

    def __init__(self, actor: Actor, tasks: Iterable[Task]) -> None:
        claimed: dict[int, Task] = {}
        if actor.user.kind == UserKind.AGENT:
            claimed = {task.claim_id: task for task in tasks if task.claim_id}
            claimed.pop(actor.claim_id or 0, None)
        claims = lock_claims(claimed) if claimed else {}
        self._tasks = {claimed[pk].pk: claimed[pk] for pk, c in claims.items() if c.is_open_now}
        self._claims: dict[int, Claim] = {claimed[pk].pk: claim for pk, claim in claims.items()}
        self._linked: dict[str, dict[int, list[int]]] = {}  # ids by field and task id

    def __contains__(self, task: Task) -> bool:
        return task.pk in self._tasks

    def check(self, task: Task, values: FieldValues) -> None:
        """Raise Conflict if one of the new values of such a task differs from the stored one."""
        if any(self._differs(task, name, v) for name, v in values.items()):
            raise build_claimed([(task, self._claims[task.pk])])

    def _differs(self, task: Task, name: str, value: object) -> bool:
        if name in LINK_FIELDS:
            assert isinstance(value, Iterable)
            return sorted({row.pk for row in value}) != self._read_links(name).get(task.pk, [])
        stored = read_column(task, name)
        after = value if isinstance(value, models.Model) else merge_if_patch(value, stored)
        return not are_equal_as_json(as_recorded(stored), as_recorded(after))

    def _read_links(self, name: str) -> dict[int, list[int]]:
        if name not in self._linked:
            self._linked[name] = read_linked_ids(list(self._tasks.values()), name)
        return self._linked[name]
