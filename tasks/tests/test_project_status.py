"""What the status of a project means for what can be done in it."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.changes.tasks import complete_task
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def archive(fixtures, as_):
    """A function that archives Apollo."""
    return lambda: as_(fixtures.ada).patch("/projects/APO", {"status": "archived"})


def titles(response):
    return [task["title"] for task in response.json()["data"]]


# ---- archived -----------------------------------------------------------------------------------


def test_only_an_administrator_reopens_an_archived_project(fixtures, as_, archive):
    archive()

    refused = as_(fixtures.ada).patch("/projects/APO", {"status": "active"})
    reopened = as_(fixtures.boss).patch("/projects/APO", {"status": "active", "name": "Again"})

    assert (refused.status_code, refused.json()["code"]) == (409, "project_archived")
    assert (reopened.status_code, reopened.json()["name"]) == (200, "Again")
    assert as_(fixtures.bob).patch("/tasks/APO-1", {"title": "x"}).status_code == 200


@pytest.mark.parametrize("body", [{"name": "x"}, {"status": "archived", "name": "x"}])
def test_administrator_cannot_change_an_archived_project_that_stays_archived(
    fixtures, as_, archive, body
):
    archive()

    assert as_(fixtures.boss).patch("/projects/APO", body).status_code == 409


def test_administrator_can_undo_that_a_project_was_archived(fixtures, as_, archive):
    request_id = archive().headers["X-Request-Id"]

    refused = as_(fixtures.ada).post("/undo", {"request_id": request_id})
    undone = as_(fixtures.boss).post("/undo", {"request_id": request_id, "actor": "@ada"})

    assert (refused.status_code, refused.json()["code"]) == (409, "project_archived")
    assert undone.status_code == 200
    assert as_(fixtures.bob).get("/projects/APO").json()["status"] == "active"


def test_move_into_an_archived_project_is_refused(fixtures, as_, archive):
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=ProjectFactory(actor=fixtures.ada))
    archive()

    r = as_(fixtures.ada).post(f"/tasks/{task.pk}/move", {"project_id": fixtures.apollo.pk})

    assert (r.status_code, r.json()["code"]) == (409, "project_archived")


@pytest.mark.parametrize(
    "query",
    ["", "sort=-priority", "sort=title", "assignee=me", "q=launch", "ready=true", "status=todo"],
)
@pytest.mark.parametrize("who", ["ada", "boss"])
def test_lists_across_projects_leave_out_archived_projects(fixtures, as_, archive, who, query):
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.ada)
        TaskFactory(actor=fixtures.ada, project=other, title="Launch 2", assignee=fixtures.ada.user)
    archive()
    client = as_(getattr(fixtures, who))

    assert "Launch" not in titles(client.get(f"/tasks?{query}"))
    if query != "assignee=me" or who == "ada":
        assert titles(client.get(f"/tasks?{query}")) == ["Launch 2"]


@pytest.mark.parametrize(
    "query",
    [
        "project=APO",
        "project_status=archived",
        "project_status=archived&sort=title",
        "project_status=archived&project_status=active",
        "project_status_not=completed",
    ],
)
@pytest.mark.parametrize("who", ["ada", "boss"])
def test_tasks_of_archived_projects_are_listed_on_request(fixtures, as_, archive, who, query):
    archive()

    assert titles(as_(getattr(fixtures, who)).get(f"/tasks?{query}")) == ["Launch"]


def test_subtasks_of_an_archived_task_are_listed_by_parent(fixtures, as_, archive):
    as_(fixtures.ada).post(
        "/tasks",
        {"project_id": fixtures.apollo.pk, "title": "Part", "parent_id": fixtures.task.pk},
    )
    archive()

    assert titles(as_(fixtures.ada).get("/tasks?parent=APO-1")) == ["Part"]


def test_task_of_an_archived_project_is_not_ready(fixtures, as_, archive):
    client = as_(fixtures.ada)
    assert client.get("/tasks/APO-1").json()["ready"] is True

    archive()

    assert client.get("/tasks/APO-1").json()["ready"] is False
    assert titles(client.get("/tasks?project=APO&ready=true")) == []
    assert titles(client.get("/tasks?project=APO&ready=false")) == ["Launch"]


def test_bulk_operation_skips_archived_projects_unless_they_are_named(fixtures, as_, archive):
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.ada)
        TaskFactory(actor=fixtures.ada, project=other, title="Other")
    archive()
    client = as_(fixtures.ada)
    operation = {"op": "update", "data": {"priority": "high"}}

    r = client.post("/tasks/bulk", {"operations": [operation | {"where": {"status": ["todo"]}}]})
    named = client.post(
        "/tasks/bulk", {"operations": [operation | {"where": {"project": ["APO"]}}]}
    )

    assert [result["task"]["title"] for result in r.json()["results"]] == ["Other"]
    assert (named.status_code, named.json()["code"]) == (409, "project_archived")


def test_csv_of_an_archived_project_contains_its_tasks(fixtures, as_, archive):
    archive()

    assert "Launch" in as_(fixtures.ada).get("/projects/APO/tasks.csv").content.decode()


def test_members_of_an_archived_project_can_change(fixtures, as_, archive):
    archive()

    r = as_(fixtures.ada).post("/projects/APO/members", {"user_id": fixtures.eve.user.pk})

    assert r.status_code == 201


# ---- completed ----------------------------------------------------------------------------------


def test_completing_a_project_with_open_tasks_is_refused(fixtures, as_):
    r = as_(fixtures.ada).patch("/projects/APO", {"status": "completed", "name": "half"})

    assert (r.status_code, r.json()["code"]) == (409, "open_work")
    assert "1 open task" in r.json()["detail"]
    project = as_(fixtures.ada).get("/projects/APO").json()
    assert (project["status"], project["name"]) == ("active", "Apollo")


def test_completing_a_project_with_open_tasks_can_be_forced(fixtures, as_):
    client = as_(fixtures.ada)

    r = client.patch("/projects/APO?force=true", {"status": "completed"})

    assert (r.status_code, r.json()["status"]) == (200, "completed")
    assert client.patch("/projects/APO", {"status": "completed", "name": "x"}).status_code == 200


def test_project_whose_tasks_are_done_can_be_completed(fixtures, as_):
    with inside(fixtures.acme):
        complete_task(fixtures.ada, fixtures.task)

    r = as_(fixtures.ada).patch("/projects/APO", {"status": "completed"})

    assert (r.status_code, r.json()["status"]) == (200, "completed")
