"""The filter `updated_since` of tasks selects every task whose response has changed since."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Tag
from tasks.queries import changed_since

STATUSES = "&".join(
    f"project_status={name}" for name in ("active", "on_hold", "completed", "archived")
)
SORTS = ["", "&sort=updated_at", "&sort=-last_activity_at", "&sort=-priority,due"]


def walk(client, query):
    """Return the bodies of all tasks of a list by id, in order, by pages of three."""
    tasks, cursor = [], ""
    while cursor is not None:
        r = client.get(f"/tasks?limit=3&{STATUSES}{query}{cursor}")
        assert r.status_code == 200, r.content
        page = r.json()
        tasks += page["data"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert len({task["id"] for task in tasks}) == len(tasks)
    return {task["id"]: task for task in tasks}


def since(time):
    return "&updated_since=" + time.isoformat().replace("+", "%2B")


@pytest.fixture(params=[0, 5000], autouse=True)
def max_few(request, monkeypatch):
    """More than these changed tasks are read in the order of the list, and not sorted."""
    monkeypatch.setattr(changed_since, "MAX_FEW", request.param)


@pytest.fixture
def board(fixtures):
    """Two projects with tasks that block each other and share tags; a comment on the first task."""
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        for number in range(2, 6):
            project = fixtures.apollo if number < 4 else other
            tags = [["red"], ["red", "blue"], [], ["blue"]][number - 2]
            create_task(fixtures.ada, project, title=f"{number}", tags=tags)
    return fixtures


def keys_since(client, time, sort=""):
    return sorted(task["key"] for task in walk(client, since(time) + sort).values())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.slow
def test_tag_that_changes_or_goes_away_updates_its_tasks(board, as_, sort):
    boss = as_(board.boss)
    with inside(board.acme):
        tag = Tag.objects.get(name="red")
    changes = [
        lambda: boss.patch(f"/tags/{tag.pk}", {"name": "scarlet"}),
        lambda: boss.patch(f"/tags/{tag.pk}", {"color": "#ff0000"}),
        lambda: boss.delete(f"/tags/{tag.pk}", headers={"X-Request-Id": "r-1"}),
        lambda: boss.post("/undo", {"request_id": "r-1"}),
    ]
    for change in changes:
        time, versions = timezone.now(), {t["version"] for t in walk(boss, "").values()}
        assert change().status_code < 300
        assert keys_since(boss, time, sort) == ["APO-2", "APO-3"]
        assert {task["version"] for task in walk(boss, "").values()} == versions
        assert keys_since(boss, timezone.now(), sort) == []


def test_new_tag_and_new_project_update_no_task(board, as_):
    boss, time = as_(board.boss), timezone.now()

    assert boss.post("/tags", {"name": "new"}).status_code == 201
    assert boss.post("/projects", {"name": "New"}).status_code == 201
    assert boss.patch("/projects/APO", {"description": "other"}).status_code == 200

    assert keys_since(boss, time) == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    ("method", "path", "body", "keys"),
    [
        ("post", "/tasks/OTH-1/completion", None, ["APO-1", "OTH-1"]),
        ("patch", "/tasks/OTH-1", {"status": "in_progress"}, ["APO-1", "OTH-1"]),
        ("post", "/tasks/OTH-1/move", {"project": "APO"}, ["APO-1", "APO-4"]),
        ("delete", "/tasks/OTH-1", None, ["APO-1"]),
        ("delete", "/projects/OTH", None, ["APO-1"]),
        ("patch", "/projects/OTH", {"key": "NEW"}, ["APO-1", "NEW-1", "NEW-2"]),
        ("patch", "/projects/APO", {"status": "archived"}, ["APO-1", "APO-2", "APO-3"]),
        ("patch", "/tasks/APO-1", {"blocked_by": []}, ["APO-1"]),
        ("post", "/comments", {"task": "APO-3", "body": "x"}, ["APO-3"]),
    ],
)
def test_blocker_project_or_comment_updates_the_tasks_that_show_it(
    board, as_, sort, method, path, body, keys
):
    boss = as_(board.boss)
    boss.patch("/tasks/APO-1", {"blocked_by": ["OTH-1"]})
    time = timezone.now()

    r = getattr(boss, method)(path, *([] if body is None else [body]))

    assert r.status_code < 300, r.content
    assert keys_since(boss, time, sort) == keys


def test_other_tenants_and_non_members_see_no_updated_task(board, as_):
    time = timezone.now() - timedelta(days=1)
    assert as_(board.boss).patch("/projects/APO", {"key": "NEW"}).status_code == 200

    assert not any(key.startswith("NEW") for key in keys_since(as_(board.mallory), time))
    assert keys_since(as_(board.eve), time) == []


def test_bulk_change_of_updated_tasks_selects_the_same_tasks(board, as_):
    boss = as_(board.boss)
    with inside(board.acme):
        tag = Tag.objects.get(name="blue")
    time = timezone.now()
    boss.patch(f"/tags/{tag.pk}", {"name": "navy"})

    where = {"updated_since": time.isoformat()}
    r = boss.post("/tasks/bulk", {"operations": [{"op": "complete", "where": where}]})

    assert r.status_code == 200, r.content
    assert sorted(x["task"]["key"] for x in r.json()["results"]) == ["APO-3", "OTH-2"]


# ---- any operations -----------------------------------------------------------------------------

number = st.integers(0, 4)
flag = st.booleans()
OPERATIONS = st.one_of(
    st.tuples(st.just("title"), number),
    st.tuples(st.just("status"), number, st.sampled_from(["todo", "in_progress", "done"])),
    st.tuples(st.just("tags"), number, st.lists(st.sampled_from(["red", "blue", "new"]), max_size=2)),
    st.tuples(st.just("blocked_by"), number, st.lists(number, max_size=2)),
    st.tuples(st.just("parent"), number, st.none() | number),
    st.tuples(st.just("delete"), number),
    st.tuples(st.just("restore"), number),
    st.tuples(st.just("move"), number, flag),
    st.tuples(st.just("comment"), number),
    st.tuples(st.just("edit comment"), flag),
    st.tuples(st.just("rename tag"), flag),
    st.tuples(st.just("colour tag"), flag),
    st.tuples(st.just("delete tag"), flag),
    st.tuples(st.just("project key"), flag),
    st.tuples(st.just("project status"), flag, st.sampled_from(["active", "archived", "on_hold"])),
    st.tuples(st.just("delete project"), flag),
    st.tuples(st.just("restore project"), flag),
    st.tuples(st.just("undo")),
)  # fmt: skip


class Board:
    """Sends operations by their names. Refused ones change nothing."""

    def __init__(self, client, tasks, projects, tags):
        self.client, self.tasks, self.projects, self.tags = client, tasks, projects, tags
        self.comments, self.count, self.request = [], 0, None

    def send(self, name, which=0, value=None):
        self.count += 1
        task, project = f"/tasks/{self.tasks[which]}", f"/projects/{self.projects[which % 2]}"
        tag = f"/tags/{self.tags[which % 2]}"
        requests = {
            "title": ("patch", task, {"title": f"title {self.count}"}),
            "status": ("patch", task, {"status": value}),
            "tags": ("patch", task, {"tags": value}),
            "delete": ("delete", task),
            "restore": ("post", f"/trash{task.replace('tasks', 'task')}/restoration"),
            "comment": ("post", "/comments", {"task": self.tasks[which], "body": "x"}),
            "rename tag": ("patch", tag, {"name": f"tag {self.count}"}),
            "colour tag": ("patch", tag, {"color": f"#0000{self.count % 100:02}"}),
            "delete tag": ("delete", tag),
            "project key": ("patch", project, {"key": f"K{self.count}"}),
            "project status": ("patch", project, {"status": value}),
            "delete project": ("delete", project),
            "restore project": ("post", f"/trash{project.replace('projects', 'project')}/restoration"),
        }  # fmt: skip
        if name == "blocked_by":
            requests[name] = ("patch", task, {"blocked_by": [self.tasks[n] for n in value]})
        elif name == "parent":
            parent = None if value is None else self.tasks[value]
            requests[name] = ("patch", task, {"parent_id": parent})
        elif name == "move":
            requests[name] = ("post", f"{task}/move", {"project_id": self.projects[value]})
        elif name == "edit comment":
            comment = self.comments[-1] if self.comments else 0
            body = {"body": f"edit {self.count}"}
            edits = {True: ("patch", f"/comments/{comment}", body), False: ("delete", f"/comments/{comment}")}  # fmt: skip
            requests[name] = edits[bool(which)]
        elif name == "undo":
            requests[name] = ("post", "/undo", {"request_id": self.request or "none"})
        method, path, *body = requests[name]
        headers = {"X-Request-Id": f"q-{self.count}"}
        r = getattr(self.client, method)(path, *body, headers=headers)
        assert r.status_code < 500
        if r.status_code < 300 and name != "undo":
            self.request = f"q-{self.count}"
        if name == "comment" and r.status_code == 201:
            self.comments.append(r.json()["id"])


@pytest.mark.slow
@given(operations=st.lists(OPERATIONS, max_size=12), start=st.integers(0, 6))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_task_whose_response_differs_is_updated_since(board, as_, operations, start):
    client = as_(board.boss)
    tasks = list(reversed(walk(client, "")))
    projects = [p["id"] for p in client.get("/projects").json()["data"] if p["key"] in ("APO", "OTH")]  # fmt: skip
    tags = [t["id"] for t in client.get("/tags").json()["data"] if t["name"] in ("red", "blue")]
    with transaction.atomic():
        sender = Board(client, tasks, projects, tags)
        for operation in operations[:start]:
            sender.send(*operation)
        time, before = timezone.now(), walk(client, "")
        for operation in operations[start:]:
            sender.send(*operation)
        after = walk(client, "")
        selected = {sort: walk(client, since(time) + sort) for sort in SORTS}
        transaction.set_rollback(True)

    differ = {pk for pk in after if after[pk] != before.get(pk)}
    for sort, updated in selected.items():
        assert differ <= updated.keys(), sort
        assert updated.items() <= after.items(), sort
