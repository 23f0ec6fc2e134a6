"""The permissions of each role: one row per operation of the API."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.db import transaction

from accounts.actions.sessions import start_session
from accounts.actions.tokens import create_token
from accounts.actions.users import create_user
from taskflow.audit.actor import TokenScope
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.actions.comments import create_comment
from tasks.actions.invitations import invite
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.webhooks import create_webhook, ping
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.models import Notification, ProjectMember
from tasks.tests.factories import ClaimFactory, ViewFactory

pytestmark = pytest.mark.one_database

# Apollo's: owner, admin and member; an agent that is a member; a colleague outside the project;
# Acme's administrator; Globex's administrator, a user of another tenant.
ROLES = ("ada", "carl", "bob", "bot", "eve", "boss", "mallory")

TITLE = {"title": "x"}
MATRIX = {
    # operation       method, path, body                                owner admin member agent outside staff foreign
    "get_me":         ("get", "/me", None,                                200, 200, 200, 200, 200, 200, 200),
    "update_me":      ("patch", "/me", {"full_name": "N"},                200, 200, 200, 200, 200, 200, 200),
    "change_password": ("post", "/me/password", {"current_password": "a", "new_password": "b"},
                                                                          422, 422, 422, 422, 422, 422, 422),
    "get_second_factor": ("get", "/me/second-factor", None,               200, 200, 200, 403, 200, 200, 200),
    "list_sign_ins":  ("get", "/me/sign-ins", None,                       200, 200, 200, 403, 200, 200, 200),
    "begin_second_factor": ("post", "/me/second-factor", {"current_password": "a"},
                                                                          422, 422, 422, 403, 422, 422, 422),
    # nobody has begun to enrol one
    "confirm_second_factor": ("post", "/me/second-factor/confirmation", {"otp": "123456"},
                                                                          409, 409, 409, 403, 409, 409, 409),
    "renew_recovery_codes": ("post", "/me/second-factor/recovery-codes", {"current_password": "a"},
                                                                          422, 422, 422, 403, 422, 422, 422),
    "remove_second_factor": ("post", "/me/second-factor/removal", {"current_password": "a"},
                                                                          422, 422, 422, 403, 422, 422, 422),
    "logout":         ("post", "/auth/logout", None,                      204, 204, 204, 204, 204, 204, 204),
    "list_sessions":  ("get", "/sessions", None,                          200, 200, 200, 403, 200, 200, 200),
    "end_session":    ("delete", "/sessions/{session}", None,             204, 404, 404, 403, 404, 404, 404),
    "end_other_sessions": ("delete", "/sessions/others", None,            204, 204, 204, 403, 204, 204, 204),
    "end_user_sessions": ("delete", "/users/{bob}/sessions", None,        403, 403, 403, 403, 403, 204, 404),
    "list_tokens":    ("get", "/tokens", None,                            200, 200, 200, 200, 200, 200, 200),
    "create_token":   ("post", "/tokens", {"name": "x"},                  201, 201, 201, 201, 201, 201, 201),
    "get_token":      ("get", "/tokens/{token}", None,                    200, 404, 404, 404, 404, 200, 404),
    "rotate_token":   ("post", "/tokens/{token}/rotation", None,          201, 404, 404, 404, 404, 403, 404),
    "revoke_token":   ("delete", "/tokens/{token}", None,                 204, 404, 404, 404, 404, 204, 404),
    "list_users":     ("get", "/users", None,                             200, 200, 200, 200, 200, 200, 200),
    "create_user":    ("post", "/users", {"email": "n@x.example"},        403, 403, 403, 403, 403, 201, 201),
    "get_user":       ("get", "/users/{eve}", None,                       200, 200, 200, 200, 200, 200, 404),
    "update_user":    ("patch", "/users/{eve}", {"full_name": "N"},       403, 403, 403, 403, 403, 200, 404),
    "put_user":       ("put", "/users/{eve}", {"full_name": "N"},         403, 403, 403, 403, 403, 200, 404),
    "delete_user":    ("delete", "/users/{new}", None,                    403, 403, 403, 403, 403, 204, 404),
    "offboard_user":  ("post", "/users/{bob}/offboarding", {},            403, 403, 403, 403, 403, 200, 404),
    "erase_user":     ("post", "/users/{bob}/erasure", None,              403, 403, 403, 403, 403, 409, 404),
    "list_invitations": ("get", "/invitations", None,                     403, 403, 403, 403, 403, 200, 200),
    "create_invitation": ("post", "/invitations", {"email": "i@x.example"},
                                                                          403, 403, 403, 403, 403, 201, 201),
    "get_invitation": ("get", "/invitations/{invitation}", None,          404, 404, 404, 404, 404, 200, 404),
    "revoke_invitation": ("delete", "/invitations/{invitation}", None,    404, 404, 404, 404, 404, 204, 404),
    "resend_invitation": ("post", "/invitations/{invitation}/resending", None,
                                                                          404, 404, 404, 404, 404, 200, 404),
    # Each has the inbox of nobody else; Bob has a notification
    "list_notifications": ("get", "/notifications", None,                 200, 200, 200, 200, 200, 200, 200),
    "mark_notifications_read": ("post", "/notifications/reading", {},  200, 200, 200, 200, 200, 200, 200),
    "get_preferences": ("get", "/notifications/preferences", None,
                                                                          200, 200, 200, 200, 200, 200, 200),
    "update_preferences": ("patch", "/notifications/preferences", {"muted": []},
                                                                          200, 200, 200, 200, 200, 200, 200),
    "put_preferences": ("put", "/notifications/preferences", {"muted": []},
                                                                          200, 200, 200, 200, 200, 200, 200),
    "get_notification": ("get", "/notifications/{notification}", None,    404, 404, 200, 404, 404, 404, 404),
    "mark_notification_read": ("post", "/notifications/{notification}/reading", None,
                                                                          404, 404, 200, 404, 404, 404, 404),
    "mark_notification_unread": ("delete", "/notifications/{notification}/reading", None,
                                                                          404, 404, 200, 404, 404, 404, 404),
    "list_webhooks":  ("get", "/webhooks", None,                          200, 200, 200, 200, 200, 200, 200),
    "create_webhook": ("post", "/webhooks", {"url": "https://x.example/", "project_id": "project"},
                                                                          201, 201, 403, 403, 422, 201, 422),
    "get_webhook":    ("get", "/webhooks/{webhook}", None,                200, 200, 404, 404, 404, 200, 404),
    "update_webhook": ("patch", "/webhooks/{webhook}", {"event_types": ["task.created"]},
                                                                          200, 200, 404, 404, 404, 200, 404),
    "put_webhook":    ("put", "/webhooks/{webhook}", {"event_types": ["task.created"]},
                                                                          200, 200, 404, 404, 404, 200, 404),
    "delete_webhook": ("delete", "/webhooks/{webhook}", None,             204, 204, 404, 404, 404, 204, 404),
    "rotate_webhook_secret": ("post", "/webhooks/{webhook}/rotation", None,
                                                                          201, 201, 404, 404, 404, 201, 404),
    "pause_webhook":  ("post", "/webhooks/{webhook}/pause", None,         200, 200, 404, 404, 404, 200, 404),
    "resume_webhook": ("post", "/webhooks/{webhook}/resumption", None,    200, 200, 404, 404, 404, 200, 404),
    "ping_webhook":   ("post", "/webhooks/{webhook}/ping", None,          200, 200, 404, 404, 404, 200, 404),
    "list_deliveries": ("get", "/webhooks/{webhook}/deliveries", None,    200, 200, 404, 404, 404, 200, 404),
    "get_delivery":   ("get", "/deliveries/{delivery}", None,             200, 200, 404, 404, 404, 200, 404),
    "redeliver":      ("post", "/deliveries/{delivery}/redelivery", None, 200, 200, 404, 404, 404, 200, 404),
    "get_tenant":     ("get", "/tenant", None,                            200, 200, 200, 200, 200, 200, 200),
    "get_tenant_usage": ("get", "/tenant/usage", None,                    403, 403, 403, 403, 403, 200, 200),
    "update_tenant":  ("patch", "/tenant", {"name": "N"},                 403, 403, 403, 403, 403, 200, 200),
    "put_tenant":     ("put", "/tenant", {"name": "N"},                   403, 403, 403, 403, 403, 200, 200),
    "list_task_events": ("get", "/tasks/{task}/events", None,             200, 200, 200, 200, 404, 200, 404),
    "list_project_events": ("get", "/projects/{project}/events", None,    200, 200, 200, 200, 404, 200, 404),
    "list_events":    ("get", "/events?after=0", None,                    200, 200, 200, 200, 200, 200, 200),
    "list_projects":  ("get", "/projects", None,                          200, 200, 200, 200, 200, 200, 200),
    "create_project": ("post", "/projects", {"name": "N"},                201, 201, 201, 201, 201, 201, 201),
    "get_project":    ("get", "/projects/{project}", None,                200, 200, 200, 200, 404, 200, 404),
    "update_project": ("patch", "/projects/{project}", {"name": "N"},     200, 200, 403, 403, 404, 200, 404),
    "put_project":    ("put", "/projects/{project}", {"name": "N"},       200, 200, 403, 403, 404, 200, 404),
    "delete_project": ("delete", "/projects/{project}", None,             204, 403, 403, 403, 404, 204, 404),
    # The agent cannot complete the task that another worker has claimed.
    "complete_project_tasks": ("post", "/projects/{project}/completion", None,
                                                                          200, 200, 200, 409, 404, 200, 404),
    "get_task_by_ref": ("get", "/projects/{project}/tasks/by-ref/known", None,
                                                                          200, 200, 200, 200, 404, 200, 404),
    "upsert_task":    ("put", "/projects/{project}/tasks/by-ref/r-1", {"title": "x"},
                                                                          201, 201, 201, 201, 404, 201, 404),
    "export_tasks":   ("get", "/projects/{project}/tasks.csv", None,      200, 200, 200, 200, 404, 200, 404),
    "import_tasks":   ("post", "/projects/{project}/tasks.csv", "title\nx", 200, 200, 200, 200, 404, 200, 404),
    "import_project": ("post", "/projects/{project}/imports?profile=jira", "Summary\nx",
                                                                          200, 200, 200, 200, 404, 200, 404),
    "list_members":   ("get", "/projects/{project}/members", None,        200, 200, 200, 200, 404, 200, 404),
    "add_member":     ("post", "/projects/{project}/members", {"user_id": "eve"},
                                                                          201, 201, 403, 403, 404, 201, 404),
    "get_member":     ("get", "/members/{membership}", None,              200, 200, 200, 200, 404, 200, 404),
    "update_member":  ("patch", "/members/{membership}", {"role": "admin"},
                                                                          200, 200, 403, 403, 404, 200, 404),
    "remove_member":  ("delete", "/members/{membership}", None,           204, 204, 204, 403, 404, 204, 404),
    "list_tasks":     ("get", "/tasks", None,                             200, 200, 200, 200, 200, 200, 200),
    "count_tasks":    ("get", "/tasks/counts?group_by=status", None,      200, 200, 200, 200, 200, 200, 200),
    "create_task":    ("post", "/tasks", {"project_id": "project", "title": "x"},
                                                                          201, 201, 201, 201, 422, 201, 422),
    "get_task":       ("get", "/tasks/{task}", None,                      200, 200, 200, 200, 404, 200, 404),
    "update_task":    ("patch", "/tasks/{task}", TITLE,                   200, 200, 200, 200, 404, 200, 404),
    "put_task":       ("put", "/tasks/{task}", TITLE,                     200, 200, 200, 200, 404, 200, 404),
    "delete_task":    ("delete", "/tasks/{task}", None,                   204, 204, 204, 204, 404, 204, 404),
    "complete_task":  ("post", "/tasks/{task}/completion", None,          200, 200, 200, 200, 404, 200, 404),
    "reopen_task":    ("delete", "/tasks/{task}/completion", None,        200, 200, 200, 200, 404, 200, 404),
    "assign_task":    ("post", "/tasks/{task}/assignment", {"assignee_id": "carl"},
                                                                          200, 200, 200, 200, 404, 200, 404),
    "unassign_task":  ("delete", "/tasks/{task}/assignment", None,        200, 200, 200, 200, 404, 200, 404),
    # to a project of Ada's alone
    "move_task":      ("post", "/tasks/{task}/move", {"project_id": "second_project"},
                                                                          200, 422, 422, 422, 404, 200, 404),
    "bulk_edit_tasks": ("post", "/tasks/bulk", {"operations": [{"op": "delete", "id": "APO-1"}]},
                                                                          200, 200, 200, 200, 404, 200, 404),
    "list_comments":  ("get", "/comments?task=APO-1", None,               200, 200, 200, 200, 422, 200, 422),
    "create_comment": ("post", "/comments", {"task_id": "task", "body": "x"},
                                                                          201, 201, 201, 201, 422, 201, 422),
    # Bob wrote it
    "get_comment":    ("get", "/comments/{comment}", None,                200, 200, 200, 200, 404, 200, 404),
    "update_comment": ("patch", "/comments/{comment}", {"body": "y"},     403, 403, 200, 403, 404, 403, 404),
    "put_comment":    ("put", "/comments/{comment}", {"body": "y"},       403, 403, 200, 403, 404, 403, 404),
    "delete_comment": ("delete", "/comments/{comment}", None,             204, 204, 204, 403, 404, 204, 404),
    # Bob has claimed a task
    "list_claims":    ("get", "/claims", None,                            200, 200, 200, 200, 200, 200, 200),
    "create_claims":  ("post", "/claims", {"task_id": "free"},            201, 201, 201, 201, 422, 201, 422),
    "get_claim":      ("get", "/claims/{claim}", None,                    200, 200, 200, 200, 404, 200, 404),
    "extend_claim":   ("patch", "/claims/{claim}", {"note": "x"},         403, 403, 200, 403, 404, 403, 404),
    "complete_claim": ("post", "/claims/{claim}/completion", {"outcome": "released"},
                                                                          403, 403, 200, 403, 404, 403, 404),
    "request_cancellation": ("post", "/claims/{claim}/cancellation", None,
                                                                          200, 200, 200, 200, 404, 200, 404),
    "break_claim":    ("delete", "/claims/{claim}", None,                 204, 204, 403, 403, 404, 204, 404),
    "list_pages":     ("get", "/pages?project=APO", None,                 200, 200, 200, 200, 422, 200, 422),
    "create_page":    ("post", "/pages", {"project_id": "project", "title": "x"},
                                                                          201, 201, 201, 201, 422, 201, 422),
    # a draft of Bob's
    "get_page":       ("get", "/pages/{page}", None,                      200, 200, 200, 404, 404, 200, 404),
    "update_page":    ("patch", "/pages/{page}", TITLE,                   200, 200, 200, 404, 404, 200, 404),
    "put_page":       ("put", "/pages/{page}", TITLE,                     200, 200, 200, 404, 404, 200, 404),
    "publish_page":   ("post", "/pages/{page}/publication", None,         200, 200, 200, 404, 404, 200, 404),
    "unpublish_page": ("delete", "/pages/{page}/publication", None,       200, 200, 200, 404, 404, 200, 404),
    "delete_page":    ("delete", "/pages/{page}", None,                   204, 204, 204, 404, 404, 204, 404),
    "search":         ("get", "/search?q=launch", None,                   200, 200, 200, 200, 200, 200, 200),
    # a task in the trash; all projects in it are Ada's
    "list_trash":     ("get", "/trash", None,                             200, 200, 200, 200, 200, 200, 200),
    "restore":        ("post", "/trash/task/{gone}/restoration", None,    200, 200, 200, 200, 404, 200, 404),
    "purge":          ("delete", "/trash/task/{gone}", None,              204, 204, 403, 403, 404, 204, 404),
    # what Bob did
    "plan":           ("post", "/plans", {"method": "DELETE", "path": "/api/v1/tasks/APO-1"},
                                                                          200, 200, 200, 200, 200, 200, 200),
    "undo":           ("post", "/undo", {"request_id": "bobs", "actor": "@bob"},
                                                                          200, 200, 200, 200, 404, 200, 422),
    "list_views":     ("get", "/views", None,                             200, 200, 200, 200, 200, 200, 200),
    "create_view":    ("post", "/views", {"name": "x", "where": {"tag": ["x"]}},
                                                                          201, 201, 201, 201, 201, 201, 201),
    "get_view":       ("get", "/views/{view}", None,                      200, 200, 200, 200, 200, 200, 404),
    "update_view":    ("patch", "/views/{view}", {"name": "y"},           200, 403, 403, 403, 403, 200, 404),
    "put_view":       ("put", "/views/{view}", {"name": "y"},             200, 403, 403, 403, 403, 200, 404),
    "delete_view":    ("delete", "/views/{view}", None,                   204, 403, 403, 403, 403, 204, 404),
    "list_tags":      ("get", "/tags", None,                              200, 200, 200, 200, 200, 200, 200),
    "create_tag":     ("post", "/tags", {"name": "fresh"},                201, 201, 201, 201, 201, 201, 201),
    "get_tag":        ("get", "/tags/{tag}", None,                        200, 200, 200, 200, 200, 200, 404),
    "update_tag":     ("patch", "/tags/{tag}", {"color": "#000000"},      403, 403, 403, 403, 403, 200, 404),
    "put_tag":        ("put", "/tags/{tag}", {"color": "#000000"},        403, 403, 403, 403, 403, 200, 404),
    "delete_tag":     ("delete", "/tags/{tag}", None,                     403, 403, 403, 403, 403, 204, 404),
}  # fmt: skip
OPEN = {  # operations without credentials
    "register",
    "login",
    "begin_enrolment",
    "confirm_enrolment",
    "request_password_reset",
    "complete_password_reset",
    "complete_email_change",
    "accept_invitation",
    "get_index",
}


def operations() -> dict[str, tuple[str, str, dict]]:
    return {
        operation["operationId"]: (method, path, operation)
        for path, methods in api_document()["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_has_a_row():
    assert operations().keys() == MATRIX.keys() | OPEN


def test_each_row_of_the_matrix_calls_the_operation_it_names():
    known = {name: (method, path) for name, (method, path, _) in operations().items()}
    for name, (method, path, *_rest) in MATRIX.items():
        plain = known[name][1].removeprefix("/api/v1")
        assert known[name][0] == method
        for here, there in zip(path.partition("?")[0].split("/"), plain.split("/"), strict=True):
            assert here == there or "{" in there


@pytest.fixture
def ids(fixtures):
    with inside(fixtures.acme):
        token, _ = create_token(fixtures.ada, name="of Ada", scope=TokenScope.READ)
        session = start_session(fixtures.ada, user_agent="")
        new = create_user(fixtures.boss, email="new@acme.example")  # who has done nothing yet
        tag = create_tag(fixtures.ada, name="urgent")
        membership = ProjectMember.objects.get(user=fixtures.bob.user)
        second_project = create_project(fixtures.ada, name="Second")
        create_task(fixtures.ada, fixtures.apollo, title="known", external_ref="known")
        gone = create_task(fixtures.ada, fixtures.apollo, title="gone")
        delete_task(fixtures.ada, gone)
        comment = create_comment(fixtures.bob, fixtures.task, body="x")
        page = create_page(fixtures.bob, fixtures.apollo, title="x")
        update_task(replace(fixtures.bob, request_id="bobs"), fixtures.task, title="Bob's")
        invitation = invite(fixtures.boss, email="nora@acme.example")
        free = create_task(fixtures.ada, fixtures.apollo, title="free")
        claim = ClaimFactory(actor=fixtures.bob, project=fixtures.apollo)
        webhook = create_webhook(
            fixtures.ada, url="https://hooks.example/", project=fixtures.apollo
        )
        delivery = ping(fixtures.ada, webhook)
        view = ViewFactory(actor=fixtures.ada, is_shared=True)
        notification = Notification.objects.create(
            user=fixtures.bob.user, kind="assigned", task=fixtures.task
        )
    return {
        "free": free.pk,
        "claim": claim.pk,
        "project": fixtures.apollo.pk,
        "task": fixtures.task.pk,
        "second_project": second_project.pk,
        "comment": comment.pk,
        "page": page.pk,
        "gone": gone.pk,
        "carl": fixtures.carl.user.pk,
        "eve": fixtures.eve.user.pk,
        "bob": fixtures.bob.user.pk,
        "new": new.pk,
        "token": token.pk,
        "session": session.pk,
        "tag": tag.pk,
        "membership": membership.pk,
        "invitation": invitation.pk,
        "webhook": webhook.pk,
        "delivery": delivery.pk,
        "view": view.pk,
        "notification": notification.pk,
    }


@pytest.mark.sampled(20)
@pytest.mark.isolation
@pytest.mark.matrix
@pytest.mark.parametrize("operation", MATRIX)
def test_each_role_gets_the_expected_status(fixtures, as_, ids, operation):
    method, path, body, *expected = MATRIX[operation]
    sent, how = body, {"content_type": "text/csv"} if isinstance(body, str) else {}
    if isinstance(body, dict):
        sent = {k: ids.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    statuses = {}
    for role in ROLES:
        client = as_(getattr(fixtures, role))
        with rolled_back():
            statuses[role] = getattr(client, method)(path.format(**ids), sent, **how).status_code

    assert statuses == dict(zip(ROLES, expected, strict=True))


# What nobody may do in an archived project, not even an administrator. Members come and go.
CLOSED_WHEN_ARCHIVED = {
    "update_project", "put_project", "delete_project", "complete_project_tasks", "upsert_task",
    "import_tasks", "import_project", "create_task", "update_task", "put_task", "delete_task", "complete_task",
    "reopen_task", "assign_task", "unassign_task", "move_task", "bulk_edit_tasks",
    "create_comment", "update_comment", "put_comment", "delete_comment", "create_page",
    "update_page", "put_page", "publish_page", "unpublish_page", "delete_page", "restore", "purge",
    "undo", "create_claims", "request_cancellation",
}  # fmt: skip


@pytest.mark.parametrize("operation", MATRIX)
def test_archived_project_refuses_every_change_of_its_contents(fixtures, as_, ids, operation):
    method, path, body, *expected = MATRIX[operation]
    sent, how = body, {"content_type": "text/csv"} if isinstance(body, str) else {}
    if isinstance(body, dict):
        sent = {k: ids.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    as_(fixtures.boss).patch("/projects/APO", {"status": "archived"})
    actor = fixtures.bob if "comment" in operation else fixtures.boss

    r = getattr(as_(actor), method)(path.format(**ids), sent, **how)

    if operation in CLOSED_WHEN_ARCHIVED:
        assert (r.status_code, r.json()["code"]) == (409, "project_archived")
    else:
        assert r.status_code == expected[ROLES.index("bob" if actor == fixtures.bob else "boss")]


@contextmanager
def rolled_back():
    """Roll back, so that each role begins with the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
