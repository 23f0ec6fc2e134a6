"""A dry run answers as the real request, and changes nothing."""

from __future__ import annotations

import io
from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone

from accounts.actions.sessions import start_session
from accounts.actions.tokens import issue_token
from accounts.models import IdempotencyRecord, Tenant, User
from taskflow.audit.actor import TokenScope
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task, delete_task
from tasks.export.exporting import export_tenant
from tasks.models import Notification, ProjectMember, Tag, Task

pytestmark = pytest.mark.one_database


def exported(tenant):
    file = io.BytesIO()
    export_tenant(Tenant.objects.get(pk=tenant.pk), file, lambda rows: None)
    return file.getvalue()


def test_dry_run_answers_as_the_real_request(fixtures, as_):
    client = as_(fixtures.ada)
    client.get("/me")  # stores the last use of the token
    before = exported(fixtures.acme)
    body = {"project_id": fixtures.apollo.pk, "title": "x", "tags": ["new"]}

    r = client.post("/tasks?dry_run=true", body)

    assert (r.status_code, r.headers["Dry-Run"]) == (201, "true")
    assert (r.json()["key"], r.json()["tags"][0]["name"]) == ("APO-2", "new")
    assert {"ETag", "Location"}.isdisjoint(r.headers)
    assert exported(fixtures.acme) == before
    real = client.post("/tasks", body)
    assert real.json().keys() == r.json().keys()
    assert {"ETag", "Location"} <= real.headers.keys()


def test_dry_run_of_a_deletion_has_no_body(fixtures, as_):
    client = as_(fixtures.ada)

    r = client.delete("/tasks/APO-1?dry_run=true")

    assert (r.status_code, r.content, r.headers["Dry-Run"]) == (204, b"", "true")
    assert client.get("/tasks/APO-1").status_code == 200


def test_dry_run_uses_no_task_number(fixtures, as_):
    client = as_(fixtures.ada)
    body = {"project_id": fixtures.apollo.pk, "title": "x"}
    client.post("/tasks?dry_run=true", body)

    assert client.post("/tasks", body).json()["key"] == "APO-2"


def test_dry_run_uses_no_idempotency_key(fixtures, as_):
    client, headers = as_(fixtures.ada), {"Idempotency-Key": "k"}
    body = {"project_id": fixtures.apollo.pk, "title": "x"}
    client.post("/tasks?dry_run=true", body, headers=headers)

    r = client.post("/tasks", body, headers=headers)

    assert (r.status_code, "Idempotency-Replayed" in r.headers) == (201, False)
    with inside(fixtures.acme):
        assert IdempotencyRecord.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [({"title": ""}, 422), ({"title": "x", "external_ref": "taken"}, 409), ({"tilte": "x"}, 422)],
)
def test_dry_run_of_an_invalid_write_is_refused(fixtures, as_, body, status):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"external_ref": "taken"})

    r = client.post("/tasks?dry_run=true", {"project_id": fixtures.apollo.pk, **body})

    assert (r.status_code, r.headers["Dry-Run"]) == (status, "true")


def test_dry_run_with_an_outdated_if_match_is_refused(fixtures, as_):
    client = as_(fixtures.ada)
    seen = client.get("/tasks/APO-1").headers["ETag"]
    client.patch("/tasks/APO-1", {"title": "New"})

    r = client.patch("/tasks/APO-1?dry_run=true", {"title": "x"}, headers={"If-Match": seen})

    assert r.status_code == 412


@pytest.mark.parametrize("value", ["1", "yes", "True", "", "true&dry_run=true"])
def test_dry_run_other_than_true_or_false_is_refused(fixtures, as_, value):
    r = as_(fixtures.ada).delete(f"/tasks/APO-1?dry_run={value}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "dry_run")


def test_dry_run_false_makes_the_change(fixtures, as_):
    assert as_(fixtures.ada).delete("/tasks/APO-1?dry_run=false").status_code == 204


@pytest.mark.parametrize("path", ["/tasks?dry_run=true", "/tasks/APO-1?dry_run=false"])
def test_dry_run_of_a_read_is_refused(fixtures, as_, path):
    r = as_(fixtures.ada).get(path)

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_parameter")


def test_dry_run_of_signing_in_is_refused(fixtures, as_, client):
    r = client.post(
        "/api/v1/auth/login?dry_run=true",
        {"email": "x@y.example", "password": "x"},
        content_type="application/json",
    )

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_parameter")


# ---- every write --------------------------------------------------------------------------------

_number = count(1)
BODIES = {
    "post /me/password": {"current_password": "correct horse battery", "new_password": "staple 4 all!"},
    "post /me/second-factor": {"current_password": "correct horse battery"},
    "patch /me": {"full_name": "New"},
    "post /tokens": {"name": "t"},
    "post /users": {"kind": "agent", "handle": "robot"},
    "patch /users/{user_id}": {"full_name": "New"},
    "post /users/{user_id}/offboarding": {},
    "post /invitations": {"email": "new@acme.example", "projects": [{"project": "APO"}]},
    "post /webhooks": {"url": "https://hooks.example/", "project": "APO"},
    "patch /webhooks/{webhook_id}": {"event_types": ["task.created"]},
    "patch /tenant": {"name": "New"},
    "post /projects": {"name": "P", "tasks": [{"title": "t", "subtasks": [{"title": "s"}]}]},
    "patch /projects/{project_id}": {"name": "New"},
    "put /projects/{project_id}/tasks/by-ref/{ref}": {"title": "new"},
    "post /projects/{project_id}/members": {"user_id": "{outsider}"},
    "patch /members/{member_id}": {"role": "admin"},
    "post /tasks": {"project_id": "{project_id}", "title": "t", "tags": ["new"]},
    "post /tasks/bulk": {
        "operations": [
            {"op": "create", "data": {"project_id": "{project_id}", "title": "t"}},
            {"op": "update", "id": "{task_id}", "data": {"title": "New", "tags": ["a"]}},
            {"op": "tag", "where": {"status": ["todo"]}, "data": {"tags": ["w"]}},
        ]
    },
    "patch /tasks/{task_id}": {"title": "New", "tags": ["a", "b"], "status": "done"},
    "post /tasks/{task_id}/assignment": {"assignee_id": "{user_id}"},
    "post /tasks/{task_id}/move": {"project_id": "{other_id}"},
    "post /tags": {"name": "new"},
    "post /views": {"name": "new", "where": {"tag": ["a"]}},
    "patch /views/{view_id}": {"name": "new"},
    "patch /tags/{tag_id}": {"name": "new"},
    "post /comments": {"task_id": "{task_id}", "body": "c"},
    "post /notifications/reading": {},
    "patch /notifications/preferences": {"muted": ["assigned"]},
    "post /claims": {"where": {"project": ["APO"]}},
    "patch /claims/{claim_id}": {"progress": 40},
    "post /claims/{claim_id}/completion": {"outcome": "completed"},
    "patch /comments/{comment_id}": {"body": "c"},
    "post /pages": {"project_id": "{project_id}", "title": "p"},
    "patch /pages/{page_id}": {"title": "q"},
    "post /undo": {"request_id": "r-1"},
    "post /plans": {"method": "DELETE", "path": "/api/v1/tasks/APO-1"},
}  # fmt: skip
NO_WRITE_TO_UNDO = {
    "post /auth/login",
    "post /auth/register",
    "post /auth/password-resets",
    "post /auth/password-resets/completion",
    "post /auth/email-changes/completion",
    "post /invitations/acceptance",
    # They take a code of the moment, or need a second factor that is in use.
    "post /auth/second-factor",
    "post /auth/second-factor/confirmation",
    "post /me/second-factor/confirmation",
    "post /me/second-factor/recovery-codes",
    "post /me/second-factor/removal",
}


def writes(client):
    document = client.get("/api/v1/openapi.json").json()
    return [
        f"{method} {path.removeprefix('/api/v1')}"
        for path, methods in document["paths"].items()
        for method in methods
        if method != "get"
    ]


def start_boss_session(fixtures):
    """The session of a program: one of a browser ends when the test sets a password."""
    boss, tomorrow = fixtures.boss, timezone.now() + timedelta(days=1)
    with inside(fixtures.acme):
        token, _text = issue_token(boss, boss.user, "sign-in", TokenScope.READ, tomorrow)
        return start_session(boss, user_agent="", token=token).pk


@pytest.fixture
def ids(fixtures, as_):
    """One row of each kind, for the paths."""
    boss = as_(fixtures.boss)
    with inside(fixtures.acme):
        tag = create_tag(fixtures.boss, name="old")
        comment = create_comment(fixtures.boss, fixtures.task, body="b")
        page = create_page(fixtures.boss, fixtures.apollo, title="p", owner=fixtures.bob.user)
        published = create_page(
            fixtures.boss, fixtures.apollo, title="p", owner=fixtures.bob.user, is_published=True
        )
        done = create_task(
            fixtures.boss, fixtures.apollo, title="d", status="done", assignee=fixtures.bob.user
        )
        claimed = create_task(fixtures.boss, fixtures.apollo, title="claimed")
        gone = create_task(fixtures.boss, fixtures.apollo, title="gone")
        delete_task(fixtures.boss, gone)
        member = ProjectMember.objects.get(user=fixtures.bob.user)
        agent = User.objects.get(handle="bot")
        notification = Notification.objects.create(
            user=fixtures.boss.user, kind="assigned", task=fixtures.task
        )
    webhook = boss.post("/webhooks", {"url": "https://hooks.example/"}).json()["id"]
    boss.patch("/tasks/APO-1", {"tags": ["old"]}, headers={"X-Request-Id": "r-1"})
    return {
        "user_id": agent.pk,
        "outsider": fixtures.eve.user.pk,
        "project_id": fixtures.apollo.pk,
        "other_id": boss.post("/projects", {"name": "Other"}).json()["id"],
        "task_id": fixtures.task.pk,
        "done": done.pk,
        "published": published.pk,
        "tag_id": tag.pk,
        "comment_id": comment.pk,
        "page_id": page.pk,
        "member_id": member.pk,
        "claim_id": boss.post("/claims", {"task": claimed.pk}).json()["data"][0]["id"],
        "invitation_id": boss.post("/invitations", {"email": "i@acme.example"}).json()["id"],
        "notification_id": notification.pk,
        "webhook_id": webhook,
        "view_id": boss.post("/views", {"name": "v", "where": {"tag": ["a"]}}).json()["id"],
        "delivery_id": boss.post(f"/webhooks/{webhook}/ping").json()["id"],
        "session_id": start_boss_session(fixtures),
        "token_id": boss.post("/tokens", {"name": "x"}).json()["id"],
        "kind": "task",
        "row_id": gone.pk,
        "ref": "r",
    }


def filled(value, ids):
    if isinstance(value, dict):
        return {k: filled(v, ids) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, ids) for v in value]
    if isinstance(value, str) and value.startswith("{"):
        return ids[value.strip("{}")]
    return value


@pytest.mark.slow
def test_dry_run_of_each_write_leaves_an_identical_export(fixtures, as_, ids):
    boss = as_(fixtures.boss)
    with inside(fixtures.acme):
        fixtures.boss.user.set_password("correct horse battery")
        User.objects.filter(pk=fixtures.boss.user.pk).update(password=fixtures.boss.user.password)
    boss.get("/me")
    before = exported(fixtures.acme)
    tried = 0
    for name in writes(boss):
        method, path = name.split(" ")
        if name in NO_WRITE_TO_UNDO:
            continue
        if path == "/auth/logout":
            continue  # see below
        others = {"task_id": ids["done"], "page_id": ids["published"]} if "delete" in name else {}
        address = path.format(**(ids | others)) + "?dry_run=true"
        body = filled(
            BODIES.get(name.replace("put ", "patch ") if name not in BODIES else name), ids
        )
        if path.endswith(".csv"):
            r = boss.post(address, "title\nx\n", content_type="text/csv")
        elif path.endswith("/imports"):
            r = boss.post(f"{address}&profile=jira", "Summary\nx\n", content_type="text/csv")
        elif path.startswith("/trash") and method == "post":
            r = boss.post(address)
        else:
            r = (
                getattr(boss, method)(address, body)
                if body is not None
                else getattr(boss, method)(address)
            )

        assert r.status_code in (200, 201, 204, 409), (name, r.content)
        assert r.headers["Dry-Run"] == "true", name
        assert exported(fixtures.acme) == before, name
        tried += 1
    assert tried > 40


def test_dry_run_of_signing_out_keeps_the_token(fixtures, as_):
    client = as_(fixtures.boss)

    assert client.post("/auth/logout?dry_run=true").status_code == 204
    assert client.get("/me").status_code == 200


def test_dry_run_of_a_bulk_request_returns_its_result(fixtures, as_):
    client = as_(fixtures.ada)
    operations = [
        {
            "op": "create",
            "data": {"project_id": fixtures.apollo.pk, "title": f"t{n}", "tags": ["n"]},
        }
        for n in range(50)
    ]

    tried = client.post("/tasks/bulk?dry_run=true", {"operations": operations}).json()

    assert tried["succeeded"] == 50
    with inside(fixtures.acme):
        assert (Task.objects.count(), Tag.objects.count()) == (1, 0)
