"""The requests of each workload, in a file that is the same for every stack."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.database import Database, known_tokens

SEED = 7
REQUESTS = 2000
BULK_REQUESTS, BULK_SIZE = 100, 100
EDITED_TIMES = 4  # each task of a workload whose requests cannot be sent again
API = "/api/v1"
OURS_ALONE = ("taskflow",)  # the peers do not offer it
MORE_CONNECTIONS_STACKS = ("taskflow", "usual", "tuned")
PICK_TASKS = """
SELECT t.id, t.project_id, t.number, t.title FROM unnest(%(ids)s::bigint[]) AS first_id
CROSS JOIN LATERAL (
  SELECT * FROM tasks_task t WHERE t.tenant_id = %(tenant)s AND t.id >= first_id
    AND (NOT %(todo)s OR t.status = 'todo' AND t.parent_id IS NULL
      AND NOT EXISTS (
        SELECT FROM tasks_task c WHERE c.tenant_id = t.tenant_id AND c.parent_id = t.id)
      AND NOT EXISTS (
        SELECT FROM tasks_taskblocker b WHERE b.tenant_id = t.tenant_id AND b.task_id = t.id))
  ORDER BY t.id LIMIT 1
) t
"""


@dataclass(frozen=True)
class Request:
    """In the body and in the header, @STAMP stands for what is different in each run."""

    method: str
    path: str
    token: str
    body: dict[str, Any] | None = None
    header: tuple[str, str] | None = None  # besides Authorization and Content-Type

    @property
    def json(self) -> str:
        return "" if self.body is None else json.dumps(self.body, separators=(",", ":"))

    @property
    def line(self) -> str:
        header = ": ".join(self.header or ())
        return f"{self.method}\t{self.path}\t{self.token}\t{self.json}\t{header}\n"

    def stamped(self, stamp: str) -> Request:
        body = self.json.replace("@STAMP", stamp)
        header = self.header and (self.header[0], self.header[1].replace("@STAMP", stamp))
        return replace(self, body=json.loads(body) if body else None, header=header)


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
    """Each request writes `events` events. Before each run, tasks in `reset` become todo again, of
    nobody, and `at_present` makes the requests for what is stored now.
    """

    name: str
    about: str
    requests: list[Request]
    events: int = 0
    reset: list[int] = field(default_factory=list)
    at_present: Callable[[Database], list[Request]] | None = None
    connections: int | None = None  # None: as many as the benchmark was told
    stacks: Sequence[str] = ()  # that are measured; empty: all

    def write(self, directory: Path) -> Path:
        path = directory / f"{self.name}.requests"
        path.write_text("".join(request.line for request in self.requests))
        return path

    def prepare(self, database: Database) -> None:
        if self.reset:
            database.fetch_rows(
                "UPDATE tasks_task SET status = 'todo', outcome = NULL, completed_at = NULL,"
                " assignee_id = NULL"
                " WHERE id = ANY(%s) AND (status, assignee_id) IS DISTINCT FROM ('todo', NULL)",
                [self.reset],
            )
        if self.at_present:
            self.requests = self.at_present(database)

    def at(self, connections: int) -> Workload:
        """Return the same workload with another number of clients."""
        name = f"{self.name} × {connections}"
        about = f"{self.about}; {connections} connections"
        return replace(
            self, name=name, about=about, connections=connections, stacks=MORE_CONNECTIONS_STACKS
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

    def successive_tasks(self, caller: Caller, count: int) -> list[int]:
        """Return the ids of as many tasks of the caller's projects, from a random one on."""
        span = caller.last_task - caller.first_task
        rows = self.database.fetch_rows(
            "SELECT id FROM tasks_task WHERE tenant_id = %s AND id >= %s AND project_id = ANY(%s)"
            " AND deleted_at IS NULL ORDER BY id LIMIT %s",
            [
                caller.tenant_id,
                caller.first_task + self.chance.randint(0, span // 2),
                list(caller.projects),
                count,
            ],
        )
        return [pk for (pk,) in rows]


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


def ready(chooser: Chooser) -> Workload:
    query = f"{API}/tasks?assignee=me&ready=true"
    requests = [Request("GET", query, caller.token) for caller in chooser.some_callers(REQUESTS)]
    return Workload("ready", "50 tasks by assignee=me&ready=true", requests)


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


def edits(picked: Sequence[tuple[Caller, Task]]) -> list[Request]:
    """Each task gets one value and then another, so that every request changes something."""
    return [
        Request(
            "PATCH",
            f"{API}/tasks/{task.id}",
            caller.token,
            {"title": f"Look after it, {turn} @STAMP", "priority": priority},
        )
        for turn, priority in (("first", "high"), ("then", "low"))
        for caller, task in picked
    ]


def update(chooser: Chooser) -> Workload:
    requests = edits(chooser.some_tasks(REQUESTS))
    return Workload("update", "a task's title and priority", requests, events=1)


def if_match(chooser: Chooser) -> Workload:
    """Each request names the version that the task has when the requests are sent in order."""
    picked = chooser.some_tasks(REQUESTS)
    ids = [task.id for _, task in picked]

    def at_present(database: Database) -> list[Request]:
        versions = dict(
            database.fetch_rows("SELECT id, version FROM tasks_task WHERE id = ANY(%s)", [ids])
        )
        requests = []
        for n, request in enumerate(edits(picked) * (EDITED_TIMES // 2)):
            task_id, turn = ids[n % len(ids)], n // len(ids)
            etag = f'"task-{task_id}-{versions[task_id] + turn}"'
            requests.append(replace(request, header=("If-Match", etag)))
        return requests

    return Workload(
        "if-match",
        "the same with If-Match",
        at_present(chooser.database),
        events=1,
        at_present=at_present,
        stacks=OURS_ALONE,
    )


def idempotent(chooser: Chooser) -> Workload:
    requests = edits(chooser.some_tasks(REQUESTS))
    requests = [
        replace(request, header=("Idempotency-Key", f"@STAMP-{n}"))
        for n, request in enumerate(requests * (EDITED_TIMES // 2))
    ]
    about = "the same with an Idempotency-Key, a new one in each request"
    return Workload("idempotent", about, requests, events=1, stacks=OURS_ALONE)


def complete(chooser: Chooser) -> Workload:
    """All tasks are completed, then all are reopened."""
    picked = chooser.some_tasks(REQUESTS, todo=True)
    requests = [
        Request(method, f"{API}/tasks/{task.id}/completion", caller.token)
        for method in ("POST", "DELETE")
        for caller, task in picked
    ]
    reset = [task.id for _, task in picked]
    return Workload("complete", "complete a task, or reopen it", requests, events=1, reset=reset)


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


def bulk_edits(chooser: Chooser) -> Workload:
    """Each task gets one value and then another, as with `update`."""
    callers = [
        (caller, tasks)
        for caller in chooser.some_callers(BULK_REQUESTS)
        if len(tasks := chooser.successive_tasks(caller, BULK_SIZE)) == BULK_SIZE
    ]
    requests = []
    for turn, priority in (("first", "high"), ("then", "low")):
        for n, (caller, tasks) in enumerate(callers):
            data = {"title": f"Look after it, {turn} of {n} @STAMP", "priority": priority}
            operations = [{"op": "update", "id": pk, "data": data} for pk in tasks]
            body = {"operations": operations}
            requests.append(Request("POST", f"{API}/tasks/bulk", caller.token, body))
    about = f"titles and priorities of {BULK_SIZE} tasks in one request"
    return Workload("edits", about, requests, events=BULK_SIZE)


# Workloads that only read come first, before others have written.
WORKLOADS: dict[str, Callable[[Chooser], Workload]] = {
    "list": listing,
    "one": one,
    "projects": projects,
    "ready": ready,
    "search": search,
    "update": update,
    "if-match": if_match,
    "idempotent": idempotent,
    "claim": claim,
    "complete": complete,
    "create": create,
    "bulk": bulk,
    "edits": bulk_edits,
}
AT_MORE_CONNECTIONS = ("list", "update")


def make_workloads(
    database: Database, names: Sequence[str], connections: Sequence[int] = ()
) -> list[Workload]:
    """Return the workloads, each followed by itself with more clients where that is measured."""
    workloads = []
    for name, make in WORKLOADS.items():
        if name not in names:
            continue
        workloads.append(workload := make(Chooser(database)))
        if name in AT_MORE_CONNECTIONS:
            workloads += [workload.at(number) for number in connections]
    return workloads
