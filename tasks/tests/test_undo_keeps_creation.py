"""A row that an undo restores has the id, the creator and the time of creation that it had."""

from __future__ import annotations

import pytest

from accounts.actions.tokens import issue_token
from accounts.models import ApiToken, User
from accounts.tests.factories import UserFactory
from conftest import PASSWORD
from taskflow.audit.actor import TokenScope
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.tags import create_tag
from tasks.actions.views import create_view
from tasks.models import RESOURCE_TYPES
from tasks.tests.factories import ProjectFactory

pytestmark = pytest.mark.one_database

KEPT = ("id", "created_at", "created_by", "joined_at", "author", "owner", "key")
# Others are not deleted: a token and an invitation are revoked, and a tenant stays.
NOT_DELETED = {"apitoken", "invitation", "tenant"}
PATHS = {
    "user": "/users",
    "project": "/projects",
    "projectmember": "/members",
    "tag": "/tags",
    "task": "/tasks",
    "comment": "/comments",
    "page": "/pages",
    "view": "/views",
}


@pytest.fixture
def rows(fixtures):
    with inside(fixtures.acme):
        project = ProjectFactory(actor=fixtures.ada, name="Zeus")
        rows = {
            "user": UserFactory(actor=fixtures.boss, handle="new"),
            "project": project,
            "projectmember": add_member(fixtures.ada, project, user=fixtures.bob.user),
            "tag": create_tag(fixtures.ada, name="hot"),
            "task": fixtures.task,
            "comment": create_comment(fixtures.bob, fixtures.task, body="x"),
            "page": create_page(fixtures.ada, fixtures.apollo, title="p"),
            "view": create_view(fixtures.boss, name="mine", where={"assignee": ["me"]}),
        }
    return {name: row.pk for name, row in rows.items()}


def test_every_resource_type_that_an_undo_restores_is_tested():
    assert {t.name for t in RESOURCE_TYPES} - NOT_DELETED == PATHS.keys()


@pytest.mark.parametrize("name", PATHS)
def test_undone_deletion_keeps_id_creator_and_time_of_creation(fixtures, as_, rows, name):
    client, path = as_(fixtures.boss), f"{PATHS[name]}/{rows[name]}"
    before = client.get(path).json()
    r = client.delete(path)
    assert r.status_code in (200, 204), r.content
    assert client.get(path).status_code == 404

    undone = client.post("/undo", {"request_id": r.headers["X-Request-Id"]})

    assert undone.status_code == 200, undone.content
    after = client.get(path).json()
    names = [name for name in KEPT if name in before]
    assert {n: after[n] for n in names} == {n: before[n] for n in names}
    assert "created_at" in names or name == "projectmember"


def test_recreated_membership_keeps_the_stored_time_of_creation(fixtures, as_, rows):
    client = as_(fixtures.boss)
    with inside(fixtures.acme):
        model = next(t.model for t in RESOURCE_TYPES if t.name == "projectmember")
        before = model.objects.get(pk=rows["projectmember"])
    r = client.delete(f"/members/{before.pk}")

    client.post("/undo", {"request_id": r.headers["X-Request-Id"]})

    with inside(fixtures.acme):
        after = model.objects.get(pk=before.pk)
    assert (after.created_at, after.joined_at) == (before.created_at, before.joined_at)


def test_undone_deletion_of_a_user_restores_no_credentials(fixtures, as_, rows):
    client = as_(fixtures.boss)
    with inside(fixtures.acme):
        user = UserFactory(actor=fixtures.boss, handle="other", password=PASSWORD)
        issue_token(fixtures.boss, user, "t", TokenScope.READ, None)
    r = client.delete(f"/users/{user.pk}")
    assert r.status_code == 204, r.content

    undone = client.post("/undo", {"request_id": r.headers["X-Request-Id"]})

    assert undone.status_code == 200, undone.content
    assert [row["code"] for row in undone.json()["left_out"]] == ["not_undoable"]
    with inside(fixtures.acme):
        again = User.objects.get(pk=user.pk)
        assert not again.has_usable_password()
        assert not ApiToken.objects.filter(user=again).exists()
