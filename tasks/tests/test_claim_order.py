"""Claims take the tasks that a plain reading of the rules takes, whatever the rows are."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime

import pytest

from taskflow.audit.actor import Actor
from taskflow.tenancy import inside
from tasks.actions.projects import update_project
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Task
from tasks.queries.claimable import lock_claimable_tasks
from tasks.tests.factories import ProjectFactory, TaskFactory

MAX_COUNT = 10
RANKS = {"high": 0, "medium": 1, "low": 2}
DUE = [
    {},
    {},
    {"due_on": date(2026, 1, 5)},
    {"due_on": date(2026, 1, 6)},
    {"due_date": datetime(2026, 1, 5, 12, tzinfo=UTC)},
    {"due_date": datetime(2026, 1, 5, 13, tzinfo=UTC)},
]


def first_by_definition(tasks, user, projects):
    """The tasks that are claimed, in their order, as docs/claims.md describes it."""
    free = [
        task
        for task in tasks
        if not task.completed
        and task.project_id in projects
        and task.project.status == "active"
        and task.assignee_id in (None, user.pk)
        and all(blocker.completed for blocker in task.blocked_by.all())
    ]

    def urgency(task):
        due = task.due.timestamp() if task.due else float("inf")
        return RANKS[task.priority], due, task.pk

    return sorted(free, key=urgency)[:MAX_COUNT]


def draft(choose, fixtures, project, blockers):
    assignee = choose.choice([None, fixtures.ada.user, fixtures.bob.user])
    values = {"priority": choose.choice(list(RANKS)), **choose.choice(DUE)}
    if assignee and project.pk == fixtures.apollo.pk:
        values["assignee"] = assignee
    blocked_by = [choose.choice(blockers)] if choose.random() < 0.3 else []
    if not blocked_by and choose.random() < 0.3:
        values["status"] = "done"
    return CreateTask(project, "Test", values, blocked_by=blocked_by)


@pytest.mark.parametrize("seed", range(3))
def test_claimed_tasks_are_the_first_ones_by_definition(fixtures, seed):
    choose = random.Random(seed)
    with inside(fixtures.acme):
        others = [ProjectFactory(actor=fixtures.ada) for _ in range(3)]
        blockers = [
            TaskFactory(actor=fixtures.ada, project=fixtures.apollo, status=status)
            for status in ("todo", "done")
        ]
        projects = [fixtures.apollo, fixtures.apollo, *others]
        drafts = [draft(choose, fixtures, choose.choice(projects), blockers) for _ in range(150)]
        create_tasks(fixtures.ada, drafts)
        update_project(fixtures.ada, others[0], status="on_hold")
        tasks = list(Task.objects.with_details())
        every = {task.project_id for task in tasks}
        bound = Actor(fixtures.ada.user, fixtures.acme, project_ids=(fixtures.apollo.pk,))
        for actor, visible in (
            (fixtures.boss, every),
            (fixtures.ada, {project.pk for project in projects}),
            (fixtures.bob, {fixtures.apollo.pk}),
            (bound, {fixtures.apollo.pk}),
        ):
            expected = first_by_definition(tasks, actor.user, visible)
            found = lock_claimable_tasks(actor, {}, MAX_COUNT)
            assert [task.pk for task in found] == [task.pk for task in expected]
            assert len(found) == MAX_COUNT
