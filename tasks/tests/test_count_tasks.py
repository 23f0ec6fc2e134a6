"""GET /tasks/counts: how many tasks each status, assignee, project and so on has."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.api import task_counts
from tasks.changes.tasks import complete_task, create_task, delete_task
from tasks.tests.factories import ProjectFactory

EMPTY = dict.fromkeys(
    ("status", "outcome", "priority", "assignee_id", "assignee", "project_id", "project")
)


@pytest.fixture
def hidden(fixtures):
    """Tasks with each status, and a project of Boss that the others do not see."""
    ada, apollo = fixtures.ada, fixtures.apollo
    with inside(fixtures.acme):
        for title in ("one", "two"):
            create_task(ada, apollo, title=title, assignee=fixtures.bob.user, priority="high")
        create_task(ada, apollo, title="free", tags=["x"])
        complete_task(ada, create_task(ada, apollo, title="dropped"), outcome="cancelled")
        delete_task(ada, create_task(ada, apollo, title="gone"))
        project = ProjectFactory(actor=fixtures.boss, name="Hidden", key="HID")
        create_task(fixtures.boss, project, title="secret")
    return project


def counts(client, query):
    r = client.get(f"/tasks/counts?{query}")
    assert r.status_code == 200, r.content
    return r.json()


def test_counts_by_status_have_the_largest_group_first(fixtures, as_, hidden):
    page = counts(as_(fixtures.ada), "group_by=status")

    assert page == {
        "group_by": "status",
        "data": [
            EMPTY | {"count": 4, "status": "todo"},
            EMPTY | {"count": 1, "status": "done"},
        ],
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("outcome", [(4, None), (1, "cancelled")]),
        ("priority", [(3, "medium"), (2, "high")]),
    ],
)
def test_counts_by_a_choice_have_its_values(fixtures, as_, hidden, field, expected):
    page = counts(as_(fixtures.ada), f"group_by={field}")

    assert [(group["count"], group[field]) for group in page["data"]] == expected


def test_counts_by_assignee_contain_the_user_and_a_group_without_one(fixtures, as_, hidden):
    client = as_(fixtures.ada)
    bob = client.patch("/tasks/APO-2", {"title": "one"}).json()["assignee"]
    ada = client.get("/tasks/APO-1").json()["assignee"]

    page = counts(client, "group_by=assignee")

    groups = sorted(page["data"], key=lambda group: (-group["count"], group["assignee_id"] or 0))
    assert groups == [
        EMPTY | {"count": 2},
        EMPTY | {"count": 2, "assignee_id": fixtures.bob.user.pk, "assignee": bob},
        EMPTY | {"count": 1, "assignee_id": fixtures.ada.user.pk, "assignee": ada},
    ]


def test_counts_by_project_have_visible_projects_only(fixtures, as_, hidden):
    apollo = {"id": fixtures.apollo.pk, "key": "APO", "name": "Apollo"}
    expected = EMPTY | {"count": 5, "project_id": fixtures.apollo.pk, "project": apollo}

    assert counts(as_(fixtures.bob), "group_by=project")["data"] == [expected]
    by_staff = counts(as_(fixtures.boss), "group_by=project")["data"]
    assert [group["project"]["key"] for group in by_staff] == ["APO", "HID"]
    assert counts(as_(fixtures.eve), "group_by=project")["data"] == []
    foreign = counts(as_(fixtures.mallory), "group_by=project")["data"]
    assert [group["project"]["key"] for group in foreign] == ["SEC"]
    bound = as_(fixtures.boss, project_ids=[hidden.pk])
    assert [g["project"]["key"] for g in counts(bound, "group_by=project")["data"]] == ["HID"]


@pytest.mark.parametrize("actor", ["boss", "ada", "eve"])
@pytest.mark.parametrize("group_by", ["status", "assignee", "project"])
@pytest.mark.parametrize(
    "query",
    ["", "q=one", "status=todo", "assignee=@bob", "assignee=none", "project=APO&tag_not=x",
     "project=APO&project=APO", "priority_not=high", "ready=true", "due_before=2026-12-01"],
)  # fmt: skip
def test_groups_add_up_to_the_count_of_the_list(fixtures, as_, hidden, actor, group_by, query):
    client = as_(getattr(fixtures, actor))
    listed = client.get(f"/tasks?include=count&{query}")

    r = client.get(f"/tasks/counts?group_by={group_by}&{query}")

    assert r.status_code == listed.status_code
    if r.status_code == 200:
        assert sum(g["count"] for g in r.json()["data"]) == listed.json()["count"]


def test_tasks_of_archived_projects_are_counted_only_when_asked_for(fixtures, as_, hidden):
    client = as_(fixtures.ada)
    client.patch("/projects/APO", {"status": "archived"})

    assert counts(client, "group_by=status")["data"] == []
    assert counts(client, "group_by=status&project=APO")["data"][0]["count"] == 4
    assert counts(client, "group_by=status&project_status=archived")["data"][0]["count"] == 4


def test_former_key_of_a_project_is_understood(fixtures, as_, hidden):
    client = as_(fixtures.ada)
    client.patch("/projects/APO", {"key": "NEW"})

    assert counts(client, "group_by=status&project=APO")["data"][0]["count"] == 4


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "group_by"),
        ("group_by=", "group_by"),
        ("group_by=title", "group_by"),
        ("group_by=status&limit=5", "limit"),
        ("group_by=status&project=HID", "project"),
        ("group_by=status&project=SEC", "project"),
        ("group_by=status&status=", "status"),
    ],
)
def test_other_parameters_are_refused(fixtures, as_, hidden, query, parameter):
    r = as_(fixtures.ada).get(f"/tasks/counts?{query}")

    assert r.status_code == 422
    assert r.json()["errors"][0]["parameter"] == parameter


def test_only_the_largest_groups_are_returned(fixtures, as_, hidden, monkeypatch):
    monkeypatch.setattr(task_counts, "MAX_GROUPS", 1)
    task_counts.GROUPS.queries.cache_clear()
    page = counts(as_(fixtures.ada), "group_by=status")
    task_counts.GROUPS.queries.cache_clear()

    assert ([group["status"] for group in page["data"]], page["has_more"]) == (["todo"], True)
