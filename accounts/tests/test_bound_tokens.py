"""A token bound to projects gives no rights outside them, not even to an administrator."""

from __future__ import annotations

import pytest

from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient
from taskflow.audit import quotas
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.projects import delete_project
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def bound(fixtures, as_):
    return as_(fixtures.boss, project_ids=[fixtures.apollo.pk])


def test_bound_token_cannot_create_user(fixtures, bound):
    body = {"email": "x@acme.example", "is_staff": True, "password": PASSWORD}

    r = bound.post("/users", body)

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    with inside(fixtures.acme):
        assert User.objects.count() == 6


@pytest.mark.parametrize("body", [{"password": PASSWORD}, {"is_staff": True}, {"is_active": False}])
def test_bound_token_cannot_change_user(fixtures, bound, body):
    for user, status in ((fixtures.bob.user, 403), (fixtures.eve.user, 404)):  # a member, and not
        assert bound.patch(f"/users/{user.pk}", body).status_code == status
        assert bound.delete(f"/users/{user.pk}").status_code == status


def test_bound_token_cannot_rotate_itself_into_wider_token(fixtures, as_, bound):
    wide = as_(fixtures.boss).post("/tokens", {"name": "wide"}).json()

    r = bound.post(f"/tokens/{wide['id']}/rotation")

    assert r.status_code == 404
    assert ApiClient(wide["token"]).get("/me").status_code == 200


def test_rotating_bound_token_keeps_its_projects(fixtures, bound):
    with inside(fixtures.acme):
        own = ApiToken.objects.latest("pk").pk

    r = bound.post(f"/tokens/{own}/rotation")

    assert (r.status_code, r.json()["project_ids"]) == (201, [fixtures.apollo.pk])


def test_token_bound_to_no_project_is_refused(fixtures, as_):
    """An empty list could be taken for “all projects”."""
    assert as_(fixtures.ada).post("/tokens", {"name": "x", "project_ids": []}).status_code == 422


@pytest.mark.parametrize("name", ["boss", "ada"])
def test_token_for_projects_that_are_not_visible_is_refused(fixtures, as_, name):
    """A project of another tenant, one in the trash, one of others and none get one response."""
    hidden = ProjectFactory(actor=fixtures.mallory, name="Hidden", key="HID")
    trashed = ProjectFactory(actor=fixtures.ada, name="Trashed", key="TRA")
    with inside(fixtures.acme):
        delete_project(fixtures.ada, trashed)
    of_others = ProjectFactory(actor=fixtures.carl, name="Other", key="OTH")
    ids = [fixtures.apollo.pk, hidden.pk, trashed.pk, 999_999]
    if name == "ada":
        ids.append(of_others.pk)

    r = as_(getattr(fixtures, name)).post("/tokens", {"name": "x", "project_ids": ids})

    details = [f"There is no project {pk}." for pk in ids]
    assert (r.status_code, r.json()["detail"]) == (422, details[1])
    assert r.json()["errors"] == [
        {"pointer": f"#/project_ids/{n}", "code": "unknown_reference", "detail": details[n]}
        for n in range(1, len(ids))
    ]


def test_bound_token_shows_nothing_of_projects_that_its_user_cannot_see(fixtures, as_):
    """They were visible when the token was created."""
    client = as_(fixtures.ada, project_ids=[fixtures.secret.pk, 999_999])

    assert client.get("/projects").json()["data"] == []
    assert client.get(f"/projects/{fixtures.secret.pk}").status_code == 404


@pytest.mark.parametrize(
    "body", [{"email": "new@acme.example"}, {"handle": "n"}, {"full_name": "N"}]
)
@pytest.mark.parametrize("name", ["boss", "bot"])
def test_bound_token_cannot_change_its_own_user(fixtures, as_, name, body):
    """With another e-mail, whoever has the token could become its user."""
    client = as_(getattr(fixtures, name), project_ids=[fixtures.apollo.pk])
    before = client.get("/me").json()

    r = client.patch("/me", body)

    assert (r.status_code, r.json()["code"]) == (403, "forbidden")
    assert client.plan("patch", "/me", body)["status"] == 403
    assert client.patch("/me?dry_run=true", body).status_code == 403
    assert client.get("/me").json() == before


@pytest.mark.parametrize("name", ["boss", "ada"])
def test_bound_token_sees_the_tags_of_its_tasks_only(fixtures, as_, name):
    other = ProjectFactory(actor=fixtures.ada, name="Other", key="OTH")
    for project, tag in ((fixtures.apollo, "here"), (other, "merger")):
        TaskFactory(actor=fixtures.ada, project=project, tags=[tag])
    ids = {tag["name"]: tag["id"] for tag in as_(fixtures.boss).get("/tags").json()["data"]}
    client = as_(getattr(fixtures, name), project_ids=[fixtures.apollo.pk])

    assert [tag["name"] for tag in client.get("/tags").json()["data"]] == ["here"]
    assert client.get("/tags?q=merger").json()["data"] == []
    assert client.get(f"/tags/{ids['here']}").status_code == 200
    for path in (f"/tags/{ids['merger']}", "/tags/999999"):
        responses = [client.get(path), client.patch(path, {"color": None}), client.delete(path)]
        assert [r.status_code for r in responses] == [404] * 3
    where = {"where": {"project": "APO", "tag_not": ["merger"]}, "set": {"priority": "low"}}
    unknown = {"where": {"project": "APO", "tag_not": ["nothing"]}, "set": {"priority": "low"}}
    answers = [client.post("/tasks/bulk", body) for body in (where, unknown)]
    assert [r.status_code for r in answers] == [422, 422]


def test_bound_token_adds_no_tag_but_names_new_ones_in_its_tasks(fixtures, bound):
    assert bound.post("/tags", {"name": "x"}).status_code == 403
    assert bound.plan("post", "/tags", {"name": "x"})["status"] == 403

    r = bound.post("/tasks", {"project": "APO", "title": "t", "tags": ["x"]})

    assert r.status_code == 201
    assert [tag["name"] for tag in bound.get("/tags").json()["data"]] == ["x"]


def test_bound_token_is_not_shown_how_much_the_tenant_uses(fixtures, as_, bound, settings):
    settings.QUOTAS = {"tasks": 1}
    quotas.forget_counts()
    body = {"project": "APO", "title": "t"}

    shown, hidden = as_(fixtures.boss).post("/tasks", body), bound.post("/tasks", body)
    quotas.forget_counts()

    assert [r.status_code for r in (shown, hidden)] == [403, 403]
    assert {r.json()["code"] for r in (shown, hidden)} == {"quota_exceeded"}
    assert "used" in str(shown.json())
    assert "used" not in str(hidden.json())
    assert bound.get("/tenant/usage").status_code == 403


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
def test_bound_token_sent_to_a_sign_in_gives_it_nothing(fixtures, bound, path):
    body = {"email": "boss@acme.example", "password": PASSWORD}
    if path.endswith("register"):
        body |= {"tenant_name": "acme", "subdomain": "acme", "full_name": "x"}
    with inside(fixtures.acme):
        before = Event.objects.count()

    assert bound.post(path, body).status_code in (401, 422)
    with inside(fixtures.acme):
        changes = Event.objects.exclude(verb="password_refused")
        assert changes.count() == before
