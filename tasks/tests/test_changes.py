"""The declarations of task changes, above all the columns that they lock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.guard import guard_row
from taskflow.audit.history import read_history
from taskflow.audit.locks import StaleRead, require_fresh
from taskflow.audit.models import Event
from taskflow.audit.recorder import lock
from taskflow.audit.verbs import register_event_verb
from taskflow.http.errors import Invalid
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.api.tasks import bulk_edit_tasks
from tasks.changes.base import Needs, TaskChange
from tasks.changes.context import Context
from tasks.changes.planner import change_tasks
from tasks.changes.restore import RestoreTask
from tasks.changes.tasks import OPERATIONS, TASK_CHANGES, create_task, delete_task
from tasks.changes.update import UpdateTask
from tasks.models import Task
from tasks.schemas.bulk import TaskBulk

DOCS = (Path(__file__).parents[2] / "docs" / "domain.md").read_text()


@pytest.fixture
def acme(fixtures):
    with inside(fixtures.acme):
        yield fixtures


def values_for(change: type[TaskChange], fixtures: Any) -> dict[str, Any]:
    """Return values for an operation: task fields for an update, its own data for others."""
    blocker = create_task(fixtures.ada, fixtures.apollo, title="blocker", status="done")
    parent = create_task(fixtures.ada, fixtures.apollo, title="parent")
    values = {
        "title": "new",
        "status": "done",
        "assignee": fixtures.bob.user,
        "tags": ["a"],
        "parent": parent,
        "blocked_by": [blocker],
        "due_on": None,
        "external_ref": "r",
    }
    if issubclass(change, UpdateTask):
        return values
    return values | {"project": create_project(fixtures.ada, name="Other", key="OTH")}


def build_change(change: type[TaskChange], fixtures: Any, status: str = "todo") -> TaskChange:
    """Return a change of a new task, which has no assignee."""
    values = values_for(change, fixtures)
    task = create_task(fixtures.ada, fixtures.apollo, title="x", status=status, parent=None)
    if change is RestoreTask:
        delete_task(fixtures.ada, task)
    loaded = Task.everything.select_related("project", "assignee").get(pk=task.pk)
    return change.build(loaded, values, force=False)


@pytest.mark.parametrize("change", TASK_CHANGES)
@pytest.mark.parametrize("is_done", [False, True])
def test_a_change_reads_and_sets_only_the_columns_that_it_declares(acme, change, is_done):
    made = build_change(change, acme, status="done" if is_done else "todo")

    change_tasks(acme.ada, [made])

    events = Event.objects.filter(subject_type="task", subject_id=made.task.pk)
    assert all(entry.sentence for entry in read_history(acme.ada, list(events)))


@pytest.mark.parametrize("change", TASK_CHANGES)
def test_a_user_who_gets_the_task_is_declared_and_may_not_be_deactivated(acme, change):
    made = build_change(change, acme)
    declared = made.needs(acme.ada).assignee
    if declared is None:
        change_tasks(acme.ada, [made])

        assert Task.everything.get(pk=made.task.pk).assignee is None
    else:
        User.objects.filter(pk=declared.pk).update(is_active=False)

        with pytest.raises(Invalid, match="is deactivated"):
            change_tasks(acme.ada, [made])


def test_every_operation_of_a_bulk_request_is_a_change():
    definitions = TaskBulk.model_json_schema()["$defs"]
    names = {
        d["properties"]["op"]["const"]
        for d in definitions.values()
        if "op" in str(d.get("required"))
    }

    assert names == {"create", *OPERATIONS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_of_a_bulk_request_is_described(name):
    section = DOCS.partition("## Bulk operations\n")[2].partition("\n## ")[0]

    assert f"`{name}`" in section
    assert re.search(rf"\b{name}\b", bulk_edit_tasks.__doc__)


@dataclass(eq=False)
class ClaimTask(TaskChange):
    """Reads and sets the assignee without a lock."""

    event = "claimed"

    def apply(self, task: Task, context: Any) -> dict[str, Any]:
        return {} if task.assignee_id else {"assignee": context.actor.user}


def test_a_change_that_reads_a_column_without_declaring_it_fails(acme):
    with pytest.raises(StaleRead, match=r"Task\.assignee_id was read"):
        change_tasks(acme.ada, [ClaimTask(acme.task)])


def test_a_change_that_sets_a_column_without_declaring_it_fails(acme, settings):
    settings.DECLARED_READS_ONLY = False
    task = create_task(acme.ada, acme.apollo, title="x")

    with pytest.raises(StaleRead, match=r"ClaimTask sets \['assignee'\]"):
        change_tasks(acme.ada, [ClaimTask(task)])


@dataclass(eq=False)
class TakeTask(TaskChange):
    """Assigns the task to the user who makes the change."""

    locks = ("assignee",)

    def needs(self, actor: Actor) -> Needs:
        return Needs(assignee=actor.member)

    def check(self, task: Task, context: Context) -> None:
        context.check_assignee(context.actor.user, task.project)

    def apply(self, task: Task, context: Context) -> dict[str, Any]:
        return {"assignee": context.actor.user}


def test_change_that_assigns_the_task_to_a_deactivated_actor_is_refused(acme):
    User.objects.filter(pk=acme.bob.user.pk).update(is_active=False)  # since the request began

    with pytest.raises(Invalid, match="is deactivated"):
        change_tasks(acme.bob, [TakeTask(Task.objects.get(pk=acme.task.pk))])


def test_a_guarded_row_shows_declared_columns_and_properties_of_them(acme):
    view = guard_row(acme.task, ["status"])

    assert (view.pk, view.key, view.completed, view.project) == (
        acme.task.pk,
        "APO-1",
        False,
        acme.apollo,
    )
    assert isinstance(view, Task)
    for name in ("title", "due_on", "assignee", "tags", "subtasks", "ready"):
        with pytest.raises(StaleRead):
            getattr(guard_row(acme.task, ["parent"]), name)
    with pytest.raises(StaleRead):
        view.status = "done"


def test_a_rule_reads_a_column_only_after_it_was_locked(acme):
    task = Task.objects.get(pk=acme.task.pk)
    with pytest.raises(StaleRead, match="assignee_id"):
        require_fresh(task, "status", "assignee_id")

    lock(task, "assignee", "status")

    require_fresh(task, "status", "assignee_id")


def test_registering_an_event_verb_twice_is_refused():
    with pytest.raises(ValueError, match=r"task\.completed"):
        register_event_verb("task", "completed", "did something else")
