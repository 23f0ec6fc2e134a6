"""Filters as sets: no filter reaches more rows than it says, and each stored value can be selected.

The properties hold for all lists, with filters in the URL and in the `where` of a bulk request:

- A filter selects the rows that have one of its values; `_not` selects exactly the other rows.
- Without one of its values, a filter selects the same rows or fewer. An empty one is refused.
- A further filter selects the same rows or fewer.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.actions.tenants import create_operator
from conftest import PROOF
from taskflow.audit.actor import Actor
from taskflow.http.filtering import EXCLUSION_SUFFIX
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project, update_project
from tasks.changes.tasks import create_task
from tasks.models import ProjectStatus
from tasks.tests.factories import MemberFactory
from tasks.tests.test_filter_values import MULTIPLE

pytestmark = pytest.mark.slow

HOW = settings(
    phases=[Phase.generate] + [Phase.shrink] * PROOF,
    max_examples=300 if PROOF else 60,
    deadline=None,
    database=None,
    derandomize=not PROOF,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
ALL_STATUSES = {"project_status": list(ProjectStatus)}  # else, archived projects are left out


def user_of(row):
    return f"@{row['handle']}" if row else "none"


# The values of a row by which each filter of several values selects it.
TASK_VALUES = {
    "project": lambda row: [row["key"].partition("-")[0], str(row["project_id"])],
    "project_status": lambda row: [row["project_status"]],
    "status": lambda row: [row["status"]],
    "outcome": lambda row: [row["outcome"]] if row["outcome"] else [],
    "priority": lambda row: [row["priority"]],
    "assignee": lambda row: [user_of(row["assignee"])],
    "created_by": lambda row: [user_of(row["created_by"])],
    "tag": lambda row: [tag["name"] for tag in row["tags"]],
    "tag_all": lambda row: [tag["name"] for tag in row["tags"]],
    "parent": lambda row: [str(row["parent_id"])] if row["parent_id"] else [],
    "blocked_by": lambda row: [str(pk) for pk in row["blocked_by"]],
    "external_ref": lambda row: [row["external_ref"]] if row["external_ref"] else [],
}
VALUES = {
    "/tasks": TASK_VALUES,
    "/projects": {
        "status": lambda row: [row["status"]],
        "owner": lambda row: [user_of(row["owner"])],
    },
    "/pages": {
        "project": lambda row: [str(row["project_id"])],
        "owner": lambda row: [user_of(row["owner"])],
    },
    "/comments": {
        "task": lambda row: [row["task_key"], str(row["task_id"])],
        "author": lambda row: [user_of(row["author"])],
    },
    "/trash": {"kind": lambda row: [row["kind"]]},
    "/search": {
        "kind": lambda row: [row["kind"]],
        "project": lambda row: [str(row["project_id"])],
    },
    "/projects/APO/events": {"verb": lambda row: [row["verb"]]},
    "/tasks/APO-1/events": {"verb": lambda row: [row["verb"]]},
}
NEEDED = {"/search": {"q": "word"}, "/tasks": ALL_STATUSES}


@pytest.fixture
def rows(fixtures, as_):
    """All rows of each list, which have every value and none, and a client that sees them."""
    operator = create_operator(
        email="op@platform.example", full_name="Op", password="long enough 7"
    )
    with inside(fixtures.acme):
        fill(fixtures, Actor(operator, fixtures.acme))
    client = as_(fixtures.boss)
    client.delete("/tasks/APO-9")
    client.delete(f"/pages/{client.get('/pages').json()['data'][0]['id']}")
    found = {
        path: client.get(path, NEEDED.get(path, {}) | {"limit": 100}).json()["data"]
        for path in VALUES
    }
    status = {project["id"]: project["status"] for project in found["/projects"]}
    for task in found["/tasks"]:
        task["project_status"] = status[task["project_id"]]
    return found, client


def fill(fixtures, operator):
    projects = [fixtures.apollo]
    for status in ("on_hold", "completed", "archived"):
        project = create_project(fixtures.ada, name=status)
        MemberFactory(actor=fixtures.ada, project=project, user=fixtures.bob.user)
        projects.append(project)
    above = fixtures.task
    for n, (priority, status, user) in enumerate(
        [("low", "todo", None), ("high", "done", fixtures.bob.user), ("medium", "in_progress", None),
         ("high", "todo", fixtures.ada.user), ("low", "done", None), ("low", "todo", None),
         ("low", "todo", fixtures.bob.user), ("medium", "todo", None)]
    ):  # fmt: skip
        project = projects[n % 4]
        creator = operator if n == 5 else (fixtures.ada, fixtures.bob)[n % 2]
        task = create_task(
            creator, project, title=f"word {n}", priority=priority, status=status,
            assignee=user, tags=[("-x", "none", "é", "E")[n % 4], "none"][: n % 3],
            **({"outcome": "cancelled"} if n == 1 else {}), external_ref=("none", "-x", None)[n % 3],
            parent=above if project is fixtures.apollo and n else None, blocked_by=[above] * (n % 2),
        )  # fmt: skip
        create_comment(creator, task, body=f"word {n}")
        create_page(fixtures.ada, project, title=f"word {n}", is_published=bool(n % 2))
        above = task if project is fixtures.apollo and n else above
    for _ in range(6):
        create_task(fixtures.ada, fixtures.apollo, title="word gone")
    for project in projects[1:]:
        update_project(fixtures.boss, project, status=project.name, force=True)


def ids_in(client, path, query):
    r = client.get(path, NEEDED.get(path, {}) | query | {"limit": 100})
    assert r.status_code == 200, (query, r.content)
    assert not r.json()["has_more"]
    return {(row.get("kind"), row["id"]) for row in r.json()["data"]}


def ids_to_change(client, query):
    where = NEEDED["/tasks"] | query
    operation = {"op": "tag", "where": where, "data": {"tags": ["new"]}}
    body = {"operations": [operation], "on_error": "skip"}  # archived projects are closed
    r = client.post("/tasks/bulk?dry_run=true", body)
    assert r.status_code == 200, r.content
    return {(None, result["id"]) for result in r.json()["results"]}


def identify(row):
    return row.get("kind"), row["id"]


def selected_rows(found, path, name, values):
    """The rows that the filter should select."""
    values_of, combine = VALUES[path][name], all if name == "tag_all" else any
    return {
        identify(row)
        for row in found[path]
        if combine(fold(value) in map(fold, values_of(row)) for value in values)
    }


def fold(value):
    return str(value).casefold()


def stored_values(found, path, name):
    return sorted({value for row in found[path] for value in VALUES[path][name](row)})


def test_every_filter_of_several_values_is_tested():
    assert {(path, name) for path in VALUES for name in VALUES[path]} == {
        (path, name)
        for path, name in MULTIPLE
        # the filters of /tasks: test_count_tasks.py compares the two
        if path not in ("/projects/APO/tasks.csv", "/tasks/counts", "/projects/APO/events")
    } | {("/projects/APO/events", "verb")}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", VALUES)
def test_filter_selects_rows_with_its_values_and_not_selects_the_others(rows, path):
    """Each value is stored in a row. Two values select the rows of either, or of both in tag_all."""
    found, client = rows
    everything = {identify(row) for row in found[path]}
    for name in VALUES[path]:
        values = stored_values(found, path, name)
        pairs = [[value] for value in values] + [list(pair) for pair in pairwise(values)]
        for chosen in pairs:
            expected = selected_rows(found, path, name, chosen)
            assert ids_in(client, path, {name: chosen}) == expected, (name, chosen)
            others = ids_in(client, path, {name + EXCLUSION_SUFFIX: chosen})
            assert others == everything - expected, (name, chosen)
        assert values, name


def test_every_task_is_selected_by_a_value_of_each_filter_or_by_none(rows):
    found, client = rows
    everything = {identify(row) for row in found["/tasks"]}
    for name in ("tag", "parent", "blocked_by", "external_ref"):
        values = stored_values(found, "/tasks", name)
        having = ids_in(client, "/tasks", {name: values})
        assert having == ids_in(client, "/tasks", {f"{name}_none": "false"}), name
        assert everything - having == ids_in(client, "/tasks", {f"{name}_none": "true"}), name
    for name in ("assignee", "created_by", "status", "priority", "project"):
        values = stored_values(found, "/tasks", name)
        assert ids_in(client, "/tasks", {name: values}) == everything, name
    ready, never_due = (
        [ids_in(client, "/tasks", {name: text}) for text in ("true", "false")]
        for name in ("ready", "due_none")
    )
    for one, other in (ready, never_due):
        assert (one | other, one & other) == (everything, set())


@pytest.mark.slow
@pytest.mark.proof
def test_fewer_values_and_more_filters_never_select_more_tasks(rows):
    found, client = rows

    @HOW
    @given(st.data())
    def check(data):
        names = data.draw(
            st.lists(st.sampled_from(sorted(TASK_VALUES)), min_size=2, max_size=3, unique=True)
        )
        where = {}
        for name in names:
            values = st.sampled_from(stored_values(found, "/tasks", name))
            sent = name + data.draw(st.sampled_from(["", EXCLUSION_SUFFIX]))
            where[sent] = data.draw(st.lists(values, min_size=1, max_size=3, unique=True))
        reached = ids_in(client, "/tasks", where)
        assert ids_to_change(client, where) == reached
        for name in where:
            others = {n: values for n, values in where.items() if n != name}
            assert reached <= ids_in(client, "/tasks", others), name
            if len(where[name]) > 1 and not name.endswith(EXCLUSION_SUFFIX) and name != "tag_all":
                fewer = where | {name: where[name][1:]}
                assert ids_in(client, "/tasks", fewer) <= reached, name
                assert ids_to_change(client, fewer) <= reached, name

    check()
