"""Requests about claims."""

from __future__ import annotations

from taskflow.tests.budgets.setup import Request, Setup
from tasks.tests.factories import CommentFactory


def add_claim(setup: Setup) -> int:
    """A new task that Bob has claimed. Return the id of the claim."""
    task = setup.add_task()
    r = setup.bob.post("/claims", {"task": task.pk})
    return int(r.json()["data"][0]["id"])


def claim_tasks(setup: Setup, rows: int) -> Request:
    setup.add_tasks(rows)
    return lambda: setup.bob.post("/claims", {"where": {"project": ["APO"]}, "count": rows})


def claim_one_task(setup: Setup, rows: int) -> Request:
    setup.add_task()
    return lambda: setup.bob.post("/claims", {})


def claim_commented_subtasks(setup: Setup, rows: int) -> Request:
    top = setup.add_task(status="in_progress", assignee=setup.fixtures.ada.user)
    for task in setup.add_tasks(rows, parent=top):
        CommentFactory(actor=setup.fixtures.ada, task=task)
    return lambda: setup.bob.post("/claims", {"where": {"parent": [str(top.pk)]}, "count": rows})


def list_claims(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        add_claim(setup)
    return lambda: setup.bob.get("/claims?open=true")


def get_claim(setup: Setup, rows: int) -> Request:
    claim = add_claim(setup)
    return lambda: setup.bob.get(f"/claims/{claim}")


def extend_claim(setup: Setup, rows: int) -> Request:
    claim = add_claim(setup)
    return lambda: setup.bob.patch(f"/claims/{claim}", {"progress": 40})


def complete_claim(setup: Setup, rows: int) -> Request:
    claim = add_claim(setup)
    return lambda: setup.bob.post(f"/claims/{claim}/completion", {"outcome": "completed"})


def release_claim(setup: Setup, rows: int) -> Request:
    claim = add_claim(setup)
    return lambda: setup.bob.post(f"/claims/{claim}/completion", {"outcome": "released"})


def request_cancellation(setup: Setup, rows: int) -> Request:
    claim = add_claim(setup)
    return lambda: setup.ada.post(f"/claims/{claim}/cancellation")


def break_claim(setup: Setup, rows: int) -> Request:
    claim = add_claim(setup)
    return lambda: setup.ada.delete(f"/claims/{claim}")
