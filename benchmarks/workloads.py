"""The requests of each workload, in a file that is the same for every stack."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.database import Database, known_tokens

SEED = 7
REQUESTS = 2000
BULK_REQUESTS, BULK_SIZE = 100, 100
API = "/api/v1"
PICK_TASKS = """
SELECT t.id, t.project_id, t.number, t.title FROM unnest(%(ids)s::bigint[]) AS first_id
CROSS JOIN LATERAL (
  SELECT * FROM tasks_task t WHERE t.tenant_id = %(tenant)s AND t.id >= first_id
    AND (NOT %(todo)s OR t.status = 'todo') ORDER BY t.id LIMIT 1
) t
"""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str
    body: dict[str, Any] | None = None

    @property
    def json(self) -> str:
        return "" if self.body is None else json.dumps(self.body, separators=(",", ":"))

    @property
    def line(self) -> str:
        return f"{self.method}\t{self.path}\t{self.token}\t{self.json}\n"


@dataclass(frozen=True)
class Caller:
    """A user with a token, and the rows that are visible to the user."""

    tenant_id: int
    user_id: int
    token: str
    projects: Sequence[int]
    first_task: int
    last_task: int


@dataclass(frozen=True)
class Task:
    id: int
    project_id: int
    number: int
    title: str


@dataclass
class Workload:
    """Each request writes `events` events. Before each run, tasks in `reset` become todo again."""

    name: str
    about: str
    requests: list[Request]
    events: int = 0
    reset: list[int] = field(default_factory=list)

    def write(self, directory: Path) -> Path:
        path = directory / f"{self.name}.requests"
        path.write_text("".join(request.line for request in self.requests))
        return path

    def prepare(self, database: Database) -> None:
        if self.reset:
            database.fetch_rows(
                "UPDATE tasks_task SET status = 'todo', assignee_id = NULL"
                " WHERE id = ANY(%s) AND (status, assignee_id) IS DISTINCT FROM ('todo', NULL)",
                [self.reset],
            )


class Chooser:
    """Picks callers, projects and tasks of the whole database, the same ones in each run."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.chance = random.Random(SEED)  # noqa: S311 - no secret
        self.callers = self._find_callers()

    def _find_callers(self) -> list[Caller]:
        projects: dict[int, list[int]] = {}
        for user_id, project_id in self.database.fetch_rows(
            "SELECT m.user_id, m.project_id FROM tasks_projectmember m"
            " JOIN tasks_project p ON p.id = m.project_id WHERE p.deleted_at IS NULL ORDER BY 1, 2"
        ):
            projects.setdefault(user_id, []).append(project_id)
        spans = {
            tenant_id: (first, last)
            for tenant_id, first, last in self.database.fetch_rows(
                "SELECT tenant_id, min(id), max(id) FROM tasks_task GROUP BY tenant_id"
            )
        }
        return [
            Caller(tenant_id, user_id, token, projects[user_id], *spans[tenant_id])
            for tenant_id, user_id, token in known_tokens(self.database)
            if user_id in projects and tenant_id in spans
        ]

    def some_callers(self, count: int) -> list[Caller]:
        return [self.chance.choice(self.callers) for _ in range(count)]

    def some_tasks(self, count: int, *, todo: bool = False) -> list[tuple[Caller, Task]]:
        """Return different tasks, each with a user who can see it."""
        chosen_ids: dict[int, list[tuple[Caller, int]]] = {}
        for caller in self.some_callers(count):
            pk = self.chance.randint(caller.first_task, caller.last_task)
            chosen_ids.setdefault(caller.tenant_id, []).append((caller, pk))
        chosen: dict[int, tuple[Caller, Task]] = {}
        for tenant_id, pairs in chosen_ids.items():
            named = {"tenant": tenant_id, "ids": [pk for _, pk in pairs], "todo": todo}
            for (caller, _), row in zip(
                pairs, self.database.fetch_rows(PICK_TASKS, named), strict=False
            ):
                chosen.setdefault(row[0], (caller, Task(*row)))
        picked = [pair for pair in chosen.values() if pair[1].project_id in pair[0].projects]
        self.chance.shuffle(picked)
        return picked


# ---- the workloads ------------------------------------------------------------------------------


def listing(chooser: Chooser) -> Workload:
    requests = []
    for caller in chooser.some_callers(REQUESTS):
        query = urlencode({"project": chooser.chance.choice(caller.projects), "status": "todo"})
        requests.append(Request("GET", f"{API}/tasks?{query}", caller.token))
    return Workload("list", "50 tasks of a project with status todo, newest first", requests)


def one(chooser: Chooser) -> Workload:
    requests = [
        Request("GET", f"{API}/tasks/{task.id}", caller.token)
        for caller, task in chooser.some_tasks(REQUESTS)
    ]
    return Workload("one", "one task", requests)


def projects(chooser: Chooser) -> Workload:
    requests = [
        Request("GET", f"{API}/projects", caller.token) for caller in chooser.some_callers(REQUESTS)
    ]
    return Workload("projects", "one's projects with their tasks counted per status", requests)


def search(chooser: Chooser) -> Workload:
    """A word of a task's title and the beginning of its number."""
    requests = []
    for caller, task in chooser.some_tasks(REQUESTS):
        words = f"{task.title.split()[-2]} {str(task.number)[:3]}"
        requests.append(Request("GET", f"{API}/tasks?{urlencode({'q': words})}", caller.token))
    return Workload("search", "50 tasks by full text", requests)


def create(chooser: Chooser) -> Workload:
    requests = []
    for n, caller in enumerate(chooser.some_callers(REQUESTS)):
        body = {
            "project_id": chooser.chance.choice(caller.projects),
            "title": f"Check the delivery {n}",
            "description": "Is it whole, and is it what was ordered?",
            "priority": chooser.chance.choice(["low", "medium", "high"]),
            "assignee_id": caller.user_id,
        }
        requests.append(Request("POST", f"{API}/tasks", caller.token, body))
    return Workload("create", "a new task", requests, events=1)


def update(chooser: Chooser) -> Workload:
    """Each task gets one value and then another, so that every request changes something."""
    picked = chooser.some_tasks(REQUESTS)
    requests = [
        Request(
            "PATCH",
            f"{API}/tasks/{task.id}",
            caller.token,
            {"title": f"Look after it, {turn} @STAMP", "priority": priority},
        )
        for turn, priority in (("first", "high"), ("then", "low"))
        for caller, task in picked
    ]
    return Workload("update", "a task's title and priority", requests, events=1)


def claim(chooser: Chooser) -> Workload:
    """All tasks are assigned, then all are unassigned."""
    picked = chooser.some_tasks(REQUESTS, todo=True)
    requests = [
        Request(
            "PATCH",
            f"{API}/tasks/{task.id}",
            caller.token,
            {"status": "in_progress", "assignee_id": caller.user_id}
            if take
            else {"status": "todo", "assignee_id": None},
        )
        for take in (True, False)
        for caller, task in picked
    ]
    reset = [task.id for _, task in picked]
    return Workload("claim", "take a task, or give it back", requests, events=1, reset=reset)


def bulk(chooser: Chooser) -> Workload:
    requests = []
    for caller in chooser.some_callers(BULK_REQUESTS):
        project_id = chooser.chance.choice(caller.projects)
        operations = [
            {"op": "create", "data": {"project_id": project_id, "title": f"Line {n} of an order"}}
            for n in range(BULK_SIZE)
        ]
        body = {"operations": operations}
        requests.append(Request("POST", f"{API}/tasks/bulk", caller.token, body))
    about = f"{BULK_SIZE} new tasks in one request"
    return Workload("bulk", about, requests, events=BULK_SIZE)


# Workloads that only read come first, before others have written.
WORKLOADS: dict[str, Callable[[Chooser], Workload]] = {
    "list": listing,
    "one": one,
    "projects": projects,
    "search": search,
    "update": update,
    "claim": claim,
    "create": create,
    "bulk": bulk,
}


def make_workloads(database: Database, names: Sequence[str]) -> list[Workload]:
    return [make(Chooser(database)) for name, make in WORKLOADS.items() if name in names]
