"""Each operation answers every successful status that the OpenAPI document has for it.

Every operation is sent to the demo with its examples: alone, twice, with each preference, and with
the ETag of the response. So no documented success, and no part of it, is without a request.
"""

from __future__ import annotations

import json
import re

import pytest
from django.db import transaction

from accounts.models import Tenant, User
from conftest import ApiClient, CheckedClient
from taskflow.tenancy import inside
from taskflow.tests.contract_report import list_operations, list_promises
from taskflow.tests.test_examples import (
    NEED_A_SECOND_FACTOR,
    NEEDS_A_MAIL,
    QUERIES,
    WITHOUT_TOKEN,
)
from tasks.models import Comment, Notification, Page, ProjectMember, Role, Tag, Task
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import seed_demo
from tasks.seeding.logins import DEMO_PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

HEADERS = ({}, {"Prefer": "return=minimal"}, {"Prefer": "return=representation"})
REQUIRED_PARAMETERS = {"search": "?q=form", "count_tasks": "?group_by=status"}


@pytest.fixture
def demo(db, settings):
    """A client of the demo's administrator, and the values of the path parameters.

    By operation, where an operation needs another row than the others.
    """
    settings.DEBUG, settings.DEFAULT_TENANT = True, DEMO_TENANT
    client = ApiClient(seed_demo().token)
    with inside(Tenant.objects.get(subdomain=DEMO_TENANT)):
        ids = {
            "comment_id": Comment.objects.filter(author__handle="ada")[0].pk,
            "page_id": Page.objects.filter(owner__handle="ada", is_published=True)[0].pk,
            "member_id": ProjectMember.objects.filter(project__key="WEB", role=Role.MEMBER)[0].pk,
            "tag_id": Tag.objects.order_by("pk")[0].pk,
        }
        user, task = User.objects.get(handle="ada"), Task.objects.earliest("pk")
        # The id of the example.
        notification = Notification(pk=1, user=user, kind="assigned", task=task)
        Notification.objects.bulk_create([notification])
        ids["notification_id"] = notification.pk
    gone = client.post("/tasks", {"project": "WEB", "title": "gone"}).json()["id"]
    ids["claim_id"] = client.post("/claims", {}).json()["data"][0]["id"]
    client.delete(f"/tasks/{gone}")
    unused, left = (
        client.post("/users", {"handle": name, "email": f"{name}@acme.example"}).json()["id"]
        for name in ("unused", "left")
    )
    client.patch(f"/users/{left}", {"is_active": False})
    invited = client.post("/invitations", {"email": "invited@acme.example"})
    ids["invitation_id"] = invited.json()["id"]
    client.post("/auth/login", {"email": "ada@acme.example", "password": DEMO_PASSWORD})
    webhook = client.post("/webhooks", {"url": "https://hooks.example/"}).json()["id"]
    ids["webhook_id"] = webhook
    view = {"name": "Open", "where": {"status_not": ["done"]}}
    ids["view_id"] = client.post("/views", view).json()["id"]
    ids["delivery_id"] = client.post(f"/webhooks/{webhook}/ping").json()["id"]
    ids["session_id"] = client.get("/sessions").json()["data"][0]["id"]
    ids["token_id"] = client.post("/tokens", {"name": "t"}).json()["id"]
    ids |= {"project_id": "WEB", "task_id": "WEB-1", "user_id": "@bob", "ref": "r", "kind": "task"}
    ids["row_id"] = gone
    client.patch("/tasks/WEB-2", {"external_ref": "known"})
    others = {
        "delete_user": {"user_id": unused},
        "erase_user": {"user_id": left},
        "get_task_by_ref": {"ref": "known"},
    }
    return client, ids, others


def requests_of(operation):
    """The query and the body of each media type that an operation takes, or one without a body."""
    name, content = operation["operationId"], operation.get("requestBody", {}).get("content", {})
    for media_type, described in content.items():
        example = described.get("example", "")
        body = example if isinstance(example, str) else json.dumps(example)
        yield QUERIES.get((name, media_type), ""), body, media_type
    if not operation.get("requestBody", {}).get("required"):
        yield REQUIRED_PARAMETERS.get(name, ""), "", "application/json"


def statuses_of(client, method, path, body, media_type):
    """The statuses of the request: with each preference, twice, and with the ETag of its response.

    Everything is rolled back.
    """
    for headers in HEADERS:
        with transaction.atomic():
            first = client.generic(method, path, body, content_type=media_type, headers=headers)
            etag = {"If-None-Match": first.headers.get("ETag", '""')}
            known = etag if method == "GET" else {}
            again = client.generic(
                method, path, body, content_type=media_type, headers=headers | known
            )
            transaction.set_rollback(True)
        yield from (str(first.status_code), str(again.status_code))


def test_every_documented_success_is_answered(demo):
    client, ids, others = demo
    answered = set()
    # They succeed in test_second_factor.py, test_password_resets.py, test_email_changes.py and
    # test_invitations.py.
    untried = set()

    for operation_name, operation in list_operations().items():
        method, template = operation_name.split(" ")
        name = operation["operationId"]
        if name in NEED_A_SECOND_FACTOR | NEEDS_A_MAIL:
            untried.add(operation_name)
        values = ids | others.get(name, {})
        path = re.sub(r"{(\w+)}", lambda match, v=values: str(v[match[1]]), template)
        sender = CheckedClient() if name in WITHOUT_TOKEN else client
        for query, body, media_type in requests_of(operation):
            for status in statuses_of(sender, method, path + query, body, media_type):
                answered.add((operation_name, status))

    missing = {(name, status) for name, status in list_promises() - answered if name not in untried}
    assert sorted(missing) == []
