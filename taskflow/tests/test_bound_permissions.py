"""An administrator's token that is bound to one project has no access to anything else.

One row per operation of the API, each called with rows outside the token's project.
"""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from accounts.models import ApiToken, User
from conftest import ApiClient, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from taskflow.tests.test_permissions import MATRIX, ids, rolled_back  # noqa: F401 - a fixture
from tasks.actions.projects import create_project
from tasks.models import Project

pytestmark = pytest.mark.one_database

# Own rows, and lists that hold nothing of the others.
OWN = {
    "get_me": 200,
    "logout": 204,
    "list_tokens": 200,
    "list_users": 200,
    "get_tenant": 200,
    "list_projects": 200,
    "list_tasks": 200,
    "count_tasks": 200,
    "search": 200,
    "list_trash": 200,
    "list_tags": 200,
    "list_events": 200,
    "list_claims": 200,
    "list_webhooks": 200,
    "list_views": 200,
    "list_notifications": 200,
    "mark_notifications_read": 200,
    # the plan of a request that would be refused
    "plan": 200,
}
FORBIDDEN = {
    "update_me",
    "change_password",
    "get_second_factor",
    "list_sessions",
    "end_session",
    "end_other_sessions",
    "list_sign_ins",
    "begin_second_factor",
    "confirm_second_factor",
    "renew_recovery_codes",
    "remove_second_factor",
    "create_token",
    "create_user",
    "list_invitations",
    "create_invitation",
    "get_tenant_usage",
    "get_preferences",
    "update_preferences",
    "put_preferences",
    "update_tenant",
    "put_tenant",
    "create_project",
    "create_tag",
    "create_view",
}
# A filter or a body that names what the token does not show.
UNKNOWN = {
    "create_task",
    "list_comments",
    "create_comment",
    "create_claims",
    "list_pages",
    "create_page",
    "undo",
}
UNKNOWN |= {"create_webhook"}
EXPECTED = {
    **dict.fromkeys(MATRIX, 404),
    **dict.fromkeys(FORBIDDEN, 403),
    **dict.fromkeys(UNKNOWN, 422),
    **OWN,
}
MAY_WRITE = {"logout"}


@pytest.fixture
def bound(fixtures):
    with inside(fixtures.acme):
        own = create_project(fixtures.boss, name="Own", key="OWN")
    return ApiClient(token_of(fixtures.boss, project_ids=[own.pk]))


def test_every_operation_has_an_expectation():
    assert EXPECTED.keys() == MATRIX.keys()


@pytest.mark.parametrize("operation", MATRIX)
def test_bound_token_of_an_administrator_cannot_reach_other_projects(
    fixtures,
    ids,  # noqa: F811 - the fixture
    bound,
    operation,
):
    method, path, body, *_expected = MATRIX[operation]
    how = {"content_type": "text/csv"} if isinstance(body, str) else {}
    if isinstance(body, dict):
        body = {k: ids.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    with inside(fixtures.acme):
        before = Event.objects.count()
        texts = [str(name) for name in Project.objects.values_list("name", flat=True)]

    r = getattr(bound, method)(path.format(**ids), body, **how)

    assert r.status_code == EXPECTED[operation], r.content
    with inside(fixtures.acme):
        assert (Event.objects.count() > before) == (operation in MAY_WRITE)
    hidden = {*texts, "Launch", "urgent", "ada@acme.example", "eve@acme.example"} - {"Own"}
    assert not [text for text in hidden if text in r.content.decode()]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/tokens", {"name": "x", "user_id": "eve"}),
        ("post", "/tokens", {"name": "x", "user_id": "eve", "project_ids": "own"}),
        ("post", "/projects/OWN/members", {"user_id": "eve"}),
        ("patch", "/projects/OWN", {"owner_id": "eve"}),
        ("post", "/tasks", {"project_id": "own", "title": "x", "assignee_id": "eve"}),
        ("get", "/tasks?created_by=@eve", None),
        ("get", "/users/{eve}", None),
    ],
)
def test_bound_token_cannot_name_outside_users(fixtures, ids, bound, method, path, body):  # noqa: F811
    with inside(fixtures.acme):
        own = Project.objects.get(key="OWN").pk
    known = {"own": own, "eve": ids["eve"]}
    body = body and {k: [own] if k == "project_ids" else known.get(v, v) for k, v in body.items()}

    r = getattr(bound, method)(path.format(**ids), body)

    assert r.status_code in (403, 404, 422), r.content


def test_bound_token_lists_only_itself(fixtures, ids, bound):  # noqa: F811
    tokens = bound.get("/tokens").json()["data"]
    users = bound.get("/users").json()["data"]

    assert [bound.token.startswith(token["prefix"]) for token in tokens] == [True]
    assert [user["id"] for user in users] == [fixtures.boss.user.pk]
    assert json.dumps(users).count("@acme.example") == 1


@pytest.mark.parametrize("subject_type", ["user", "apitoken", "tenant", "tag"])
def test_bound_token_cannot_undo_changes_outside_its_project(fixtures, as_, bound, subject_type):
    """This also holds for changes that the same user made with another token."""
    boss = as_(fixtures.boss)
    calls = {
        "user": lambda: boss.patch(f"/users/{fixtures.eve.user.pk}", {"full_name": "N"}),
        "apitoken": lambda: boss.post("/tokens", {"name": "wide"}),
        "tenant": lambda: boss.patch("/tenant", {"name": "N"}),
        "tag": lambda: boss.patch(f"/tags/{boss.post('/tags', {'name': 'a'}).json()['id']}",
                                  {"name": "b"}),
    }  # fmt: skip
    request_id = calls[subject_type]().headers["X-Request-Id"]
    with inside(fixtures.acme):
        (event,) = Event.objects.filter(request_id=request_id)
    assert event.subject_type == subject_type

    responses = [
        bound.post("/undo", body)
        for body in (
            {"request_id": request_id},
            {"event_ids": [event.pk]},
            {"request_id": request_id, "actor": "me"},
        )
    ]

    assert [r.status_code for r in responses] == [404, 404, 404]
    with inside(fixtures.acme):
        assert Event.objects.latest("pk").pk == event.pk
        assert ApiToken.objects.live(timezone.now()).count() == (
            3 if subject_type == "apitoken" else 2
        )
        assert User.objects.filter(is_active=False).count() == 0
