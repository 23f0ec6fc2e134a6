"""Which rows lists contain for each role. Other rows get the same response as missing ones."""

from __future__ import annotations

import pytest

from accounts.actions.tokens import create_token
from taskflow.audit.actor import TokenScope
from taskflow.tenancy import inside
from tasks.actions.tags import create_tag

pytestmark = pytest.mark.isolation

MEMBERS = ("ada", "carl", "bob", "bot")


def test_projects_and_tasks_are_visible_to_members_and_staff(fixtures, as_):
    visible = {
        role: (
            [p["key"] for p in as_(getattr(fixtures, role)).get("/projects").json()["data"]],
            [t["title"] for t in as_(getattr(fixtures, role)).get("/tasks").json()["data"]],
        )
        for role in (*MEMBERS, "boss", "eve", "mallory")
    }

    assert visible == {role: (["APO"], ["Launch"]) for role in (*MEMBERS, "boss")} | {
        "eve": ([], []),
        "mallory": (["SEC"], ["Plot"]),
    }


def test_users_and_tags_are_visible_in_their_tenant(fixtures, as_):
    with inside(fixtures.acme):
        create_tag(fixtures.ada, name="urgent")

    for role, handles, tags in (
        ("eve", {"boss", "ada", "carl", "bob", "bot", "eve"}, ["urgent"]),
        ("mallory", {"mallory"}, []),
    ):
        client = as_(getattr(fixtures, role))
        assert {u["handle"] for u in client.get("/users").json()["data"]} == handles
        assert [t["name"] for t in client.get("/tags").json()["data"]] == tags


def test_agent_token_is_visible_to_responsible_user_and_staff(fixtures, as_):
    with inside(fixtures.acme):
        create_token(
            fixtures.ada, name="for the agent", scope=TokenScope.READ, user=fixtures.bot.user
        )
    clients = {role: as_(getattr(fixtures, role)) for role in ("ada", "bob", "boss", "mallory")}

    names = {
        role: "for the agent" in [t["name"] for t in client.get("/tokens").json()["data"]]
        for role, client in clients.items()
    }

    assert names == {"ada": True, "bob": False, "boss": True, "mallory": False}


@pytest.mark.parametrize("role", ["eve", "mallory"])
@pytest.mark.parametrize(
    "path",
    [
        "/tasks?project={project}",
        "/tasks?project=APO",
        "/tasks?parent={task}",
        "/tasks?parent=APO-1",
        "/projects/{project}",
        "/projects/APO",
        "/projects/{project}/members",
        "/tasks/{task}",
        "/tasks/APO-1",
    ],
)
def test_invisible_ids_and_keys_get_the_same_response_as_missing_ones(fixtures, as_, role, path):
    client = as_(getattr(fixtures, role))

    invisible = client.get(path.format(project=fixtures.apollo.pk, task=fixtures.task.pk))

    missing = client.get(
        path.replace("APO-1", "NIX-9").replace("APO", "NIX").format(project=99999, task=99999)
    )
    assert invisible.status_code == missing.status_code in (404, 422)
    assert invisible.json()["code"] == missing.json()["code"]


def test_user_of_another_tenant_is_unknown_in_filters(fixtures, as_):
    path = f"/tasks?assignee={fixtures.ada.user.pk}"

    assert as_(fixtures.bob).get(path).status_code == 200
    assert as_(fixtures.mallory).get(path).status_code == 422
    assert as_(fixtures.mallory).get("/tasks?assignee=@ada").status_code == 422


def test_bound_token_shows_only_its_projects(fixtures, as_):
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])
    elsewhere = as_(fixtures.ada, project_ids=[fixtures.apollo.pk + 999])
    for_staff = as_(fixtures.boss, project_ids=[fixtures.apollo.pk + 999])

    assert bound.get(f"/tasks/{fixtures.task.pk}").status_code == 200
    for client in (elsewhere, for_staff):
        assert client.get(f"/tasks/{fixtures.task.pk}").status_code == 404
        assert client.get("/tasks").json()["data"] == []
        assert client.get("/projects").json()["data"] == []
