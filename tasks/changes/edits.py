"""Changing a set of tasks, in as many statements as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.recorder import change_each, lock_all, take_turns
from taskflow.http.errors import NotFound, Problem
from tasks.actions.tags import find_or_create_tags
from tasks.changes.context import BOTH_DUE, Facts, check_tag_count
from tasks.models import FormerNumber, Project, Status, Tag, Task, TaskTag
from tasks.models.graph import reached

# What a change of one is judged by the others for: they must be of the same moment.
DEPENDENT = {"status", "completed_at", "due_date", "due_on"}
PLACE = {"project", "number", "parent", "assignee"}


@dataclass(eq=False)
class Edit:
    """Do one thing to a task: give it new values, as update_task() takes them, or else what the
    other fields say.
    """

    task: Task
    values: dict[str, Any] = field(default_factory=dict)
    force: bool = False  # complete it whatever is open before or below
    reopen: bool = False
    tag: Sequence[str] = ()
    untag: Sequence[str] = ()
    project: Project | None = None  # to move to
    delete: bool = False

    @property
    def completes(self) -> bool:
        return bool(self.values.get("status") == Status.DONE)

    @property
    def takes_family(self) -> bool:
        return self.delete or self.project is not None


def edit_tasks(
    actor: Actor,
    edits: Sequence[Edit],
    problems: dict[int, Problem] | None = None,
    *,
    has_turn: bool = False,
) -> None:
    """Do the edits in this order, each upon what those before it left.

    What speaks against one goes into `problems` under its index, and the others are done. Without
    `problems` it is raised. Edits of one task share one Task object. `has_turn` after
    lock_places(), which takes turns where the edits need that.
    """
    plan = _Plan(actor, edits, has_turn=has_turn)
    for index, edit in enumerate(edits):
        try:
            plan.add(edit)
        except Problem as problem:
            if problems is None:
                raise
            problems[index] = problem
    plan.carry_out()


def lock_places(actor: Actor, projects: Iterable[Project], edits: Sequence[Edit]) -> None:
    """Take the locks for new tasks in `projects` and for edits together, as far as they have an
    order: one after the other, two such requests could wait for each other.
    """
    if any(edit.project or "blocked_by" in edit.values for edit in edits):
        take_turns(actor)
    places = [p for edit in edits for p in (edit.task.project, edit.project) if p]
    lock_all(list({project.pk: project for project in [*projects, *places]}.values()))


class _Plan:
    def __init__(self, actor: Actor, edits: Sequence[Edit], *, has_turn: bool) -> None:
        self.actor = actor
        self.now = timezone.now()
        self.facts = Facts(actor)
        self.rows = {edit.task.pk: edit.task for edit in edits}
        self.changes: list[tuple[Task, str, dict[str, Any]]] = []
        self.moves: list[tuple[Task, int, dict[str, Any]]] = []  # the project left, the values
        self.deleted: set[int] = set()
        if not has_turn and any(edit.project for edit in edits):
            take_turns(actor)
        self._gather(edits)
        self._foresee(edits)

    # ---- what has to be known ----

    def _gather(self, edits: Sequence[Edit]) -> None:
        """Locks go in one order everywhere: tenant, project, tags, task."""
        self.facts.ask_blockers([b for e in edits for b in e.values.get("blocked_by", ())])
        self._ask_places(edits)
        names = [name for e in edits for name in [*e.values.get("tags", ()), *e.tag]]
        self.tags = find_or_create_tags(self.actor, names)
        columns = set()
        if any(e.reopen or e.values.keys() & DEPENDENT for e in edits):
            columns |= DEPENDENT
        if any(e.takes_family or "parent" in e.values for e in edits):
            columns |= PLACE
        retagged = [e.task for e in edits if e.tag or e.untag]
        if columns or retagged:
            mode = LockMode.UPDATE_KEY if any(e.project for e in edits) else LockMode.UPDATE
            lock_all(list(self.rows.values()), *sorted(columns), mode=mode)
        self.tags_of = self._ask_tags(retagged)

    def _ask_places(self, edits: Sequence[Edit]) -> None:
        """Of trees, own ids and people, what the edits depend on."""
        places = [e.project or e.task.project for e in edits] + [e.task.project for e in edits]
        parents = [e.values["parent"] for e in edits if e.values.get("parent")]
        families = [e.task for e in edits if e.takes_family]
        assignees = [e.values.get("assignee") for e in edits]
        self.facts.lock_assignees(places, [user for user in assignees if user])
        refs = [(e.task.project, e.values.get("external_ref")) for e in edits]
        if parents or families or any(ref for _, ref in refs):
            self.facts.lock_projects(places)
        if parents or families:
            self.facts.ask_tree(parents, list(self.rows.values()))
            self._load_families(families)
        movers = [(task, e.project) for e in edits if e.project for task in self._family(e.task)]
        refs += [(project, task.external_ref) for task, project in movers]
        self.facts.ask_refs(refs)
        moved = [task.assignee for task, _ in movers if task.assignee]
        self.facts.ask_memberships(places, moved)

    def _load_families(self, tops: Iterable[Task]) -> None:
        below = reached(self.facts.below, [task.pk for task in tops]) - self.rows.keys()
        if below:
            tasks = Task.objects.filter(pk__in=sorted(below))
            self.rows |= {t.pk: t for t in tasks.select_related("project", "assignee")}

    def _family(self, task: Task) -> list[Task]:
        """The task and what hangs below it, the trash left out."""
        return [
            self.rows[pk] for pk in sorted(reached(self.facts.below, [task.pk]) & self.rows.keys())
        ]

    def _ask_tags(self, tasks: Sequence[Task]) -> dict[int, dict[int, Tag]]:
        found: dict[int, dict[int, Tag]] = {task.pk: {} for task in tasks}
        if found:
            for link in TaskTag.objects.filter(task__in=list(found)).select_related("tag"):
                found[link.task_id][link.tag_id] = link.tag
        return found

    def _foresee(self, edits: Sequence[Edit]) -> None:
        """Which tasks will be done for certain: they don't keep others of the set from it."""
        completing = [e for e in edits if e.completes and not e.task.completed]
        self.facts.ask_open_work([e.task for e in completing if not e.force])
        forced = {e.task.pk for e in completing if e.force}
        self.done = {
            e.task.pk
            for e in completing
            if len(e.values) == 1 and self.facts.is_member(e.task.project)
        }
        while hindered := {pk for pk in self.done - forced if self._is_hindered(pk)}:
            self.done -= hindered

    def _is_hindered(self, pk: int) -> bool:
        return any(t.pk not in self.done for _, t in self.facts.open_work(self.rows[pk]))

    # ---- one edit after the other, in memory ----

    def add(self, edit: Edit) -> None:
        """Plan an edit. Raises what speaks against it, then nothing of it is planned."""
        if edit.task.pk in self.deleted:
            if edit.delete:
                return
            raise NotFound("It has been deleted by an operation before this one.")
        self.facts.check_member(edit.task.project)
        if edit.delete:
            self._delete(edit.task)
        elif edit.project is not None:
            self._move(edit.task, edit.project)
        elif edit.tag or edit.untag:
            self._retag(edit)
        elif edit.reopen:
            if edit.task.completed:
                self._update(edit.task, {"status": Status.TODO}, force=False)
        else:
            self._update(edit.task, dict(edit.values), force=edit.force)

    def _update(self, task: Task, values: dict[str, Any], *, force: bool) -> None:
        self._check(task, values, force=force)
        facts = self.facts
        if "parent" in values:
            facts.hang(task, values["parent"])
        if "blocked_by" in values:
            facts.block(task, values["blocked_by"])
        if "tags" in values:
            tags = {tag.pk: tag for tag in (self.tags[name] for name in values["tags"])}
            values["tags"] = list(tags.values())
            if task.pk in self.tags_of:  # an operation after this one adds or takes off some
                self.tags_of[task.pk] = tags
        facts.take_ref(task, task.project, values.get("external_ref"))
        verb = _verb(task, values)
        if values.get("status", task.status) != task.status:
            values["completed_at"] = self.now if values["status"] == Status.DONE else None
        self._plan(task, verb, values)

    def _check(self, task: Task, values: dict[str, Any], *, force: bool) -> None:
        assignee, parent = values.get("assignee"), values.get("parent")
        if assignee and assignee.pk != task.assignee_id:
            self.facts.check_assignee(assignee, task.project)
        if parent and parent.pk != task.parent_id:
            self.facts.check_parent(task, parent)
        if "blocked_by" in values:
            self.facts.check_blockers(task, values["blocked_by"])
        if values.get("due_date", task.due_date) and values.get("due_on", task.due_on):
            raise BOTH_DUE
        check_tag_count(len({name.lower() for name in values.get("tags", ())}))
        self.facts.check_ref(task, task.project, values.get("external_ref"))
        if values.get("status") == Status.DONE and not (task.completed or force):
            blockers = values.get("blocked_by")
            self.facts.check_completable(task, self.done, blockers=blockers)

    def _retag(self, edit: Edit) -> None:
        before = self.tags_of[edit.task.pk]
        added = {tag.pk: tag for tag in (self.tags[name] for name in edit.tag)}
        unwanted = {name.lower() for name in edit.untag}
        tags = {pk: tag for pk, tag in (before | added).items() if tag.name.lower() not in unwanted}
        check_tag_count(len(tags), len(before))
        self.tags_of[edit.task.pk] = tags
        self._plan(edit.task, "changed", {"tags": list(tags.values())})

    def _move(self, task: Task, project: Project) -> None:
        """With its subtasks; the others of the project need not see it any more."""
        self.facts.check_member(project)
        if task.project_id == project.pk:
            return
        family = self._family(task)
        for one in family:
            self.facts.check_ref(one, project, one.external_ref)
        self.facts.hang(task, None)
        for one in family:
            self.facts.take_ref(one, project, one.external_ref)
            values: dict[str, Any] = {"project": project, "number": None}
            if one is task and task.parent_id:
                values["parent"] = None
            if one.assignee and not self.facts.can_see(one.assignee, project):
                values["assignee"] = None
            self.moves.append((one, one.project_id, values))
            self._plan(one, "moved", values)

    def _delete(self, task: Task) -> None:
        for one in self._family(task):
            if one.pk not in self.deleted:
                self._plan(one, "deleted", {"deleted_at": self.now})
                self.deleted.add(one.pk)

    def _plan(self, task: Task, verb: str, values: dict[str, Any]) -> None:
        """What follows is judged by the new values; the write door takes the stored ones again."""
        self.changes.append((task, verb, values))
        for name in values.keys() - {"tags", "blocked_by", "number"}:
            setattr(task, name, values[name])

    # ---- all of it, in the database ----

    def carry_out(self) -> None:
        left = self._number()
        change_each(self.actor, self.changes)
        FormerNumber.keep(left)

    def _number(self) -> list[tuple[Task, int, int]]:
        """Give moved tasks their new numbers. Return the (task, project, number) they leave."""
        if not self.moves:
            return []
        wanted = Counter(values["project"].pk for _, _, values in self.moves)
        counters = {pk: count(first) for pk, first in Project.take_numbers(wanted).items()}
        numbers = {task.pk: task.number for task, _, _ in self.moves}
        left = []
        for task, project_id, values in self.moves:
            left.append((task, project_id, numbers[task.pk]))
            values["number"] = numbers[task.pk] = next(counters[values["project"].pk])
        return left


def _verb(task: Task, values: dict[str, Any]) -> str:
    if values.get("status", task.status) != task.status:
        if values["status"] == Status.DONE:
            return "completed"
        return "reopened" if task.completed else "changed"
    if values.keys() == {"assignee"}:
        return "assigned" if values["assignee"] else "unassigned"
    return "changed"
