"""Passwords and the text of tokens appear in no response, event, log line or table."""

from __future__ import annotations

import json
import logging

import pytest

from accounts.actions.users import update_user
from accounts.models import ApiToken, User
from conftest import PASSWORD, ApiClient
from taskflow.audit.models import Event
from taskflow.logging import JsonFormatter
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.actions.comments import create_comment
from tasks.actions.invitations import invite
from tasks.actions.pages import create_page
from tasks.actions.tags import create_tag
from tasks.actions.webhooks import create_webhook, ping
from tasks.changes.tasks import create_task
from tasks.models import Notification, ProjectMember
from tasks.tests.factories import ClaimFactory, ViewFactory

pytestmark = pytest.mark.one_database

OWN_PASSWORD = "an administrator's passphrase"
# For administrators only.
HIDDEN = {
    "/api/v1/notifications/{notification_id}": 404,  # of another user
    "/api/v1/tenant/usage": 403,
    "/api/v1/invitations": 403,
    "/api/v1/invitations/{invitation_id}": 404,
}


def crawl(client, fixtures):
    """Yield the response of every GET operation, with ids that exist."""
    with inside(fixtures.acme):
        comment = create_comment(fixtures.ada, fixtures.task, body="x")
        page = create_page(fixtures.ada, fixtures.apollo, title="x")
        tag = create_tag(fixtures.ada, name="x")
        member = ProjectMember.objects.get(user=fixtures.ada.user)
        token = ApiToken.objects.filter(name="canary").first()
        invitation = invite(fixtures.boss, email="nora@acme.example")
        create_task(fixtures.ada, fixtures.apollo, title="x", external_ref="known")
        claim = ClaimFactory(actor=fixtures.ada, project=fixtures.apollo)
        webhook = create_webhook(fixtures.ada, url="https://x.example/", project=fixtures.apollo)
        delivery = ping(fixtures.ada, webhook)
        notification = Notification(user=fixtures.ada.user, kind="assigned", task=fixtures.task)
        Notification.objects.bulk_create([notification])
    ids = {
        "ref": "known",
        "project_id": fixtures.apollo.pk,
        "task_id": fixtures.task.pk,
        "user_id": fixtures.ada.user.pk,
        "comment_id": comment.pk,
        "page_id": page.pk,
        "tag_id": tag.pk,
        "member_id": member.pk,
        "token_id": token.pk,
        "invitation_id": invitation.pk,
        "claim_id": claim.pk,
        "webhook_id": webhook.pk,
        "delivery_id": delivery.pk,
        "notification_id": notification.pk,
        "view_id": ViewFactory(actor=fixtures.ada, is_shared=True).pk,
    }
    queries = {"/api/v1/search": "?q=x", "/api/v1/tasks/counts": "?group_by=status"}
    for path, methods in api_document()["paths"].items():
        if "get" in methods:
            r = client.get(path.format(**ids) + queries.get(path, ""))
            assert r.status_code in (200, HIDDEN.get(path)), path
            yield path, r.content.decode()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("who", ["boss", "ada"])
def test_responses_events_and_log_lines_contain_no_secret(fixtures, as_, caplog, who):
    caplog.set_level(logging.DEBUG)
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.boss.user, password=OWN_PASSWORD)
    boss = as_(fixtures.boss)
    body = {"password": PASSWORD, "current_password": OWN_PASSWORD}
    assert boss.patch(f"/users/{fixtures.ada.user.pk}", body).status_code == 200
    signed_in = ApiClient().post(
        "/auth/login", {"email": "ada@acme.example", "password": PASSWORD}
    ).json()["token"]  # fmt: skip
    ada = ApiClient(signed_in)
    issued = ada.post("/tokens", {"name": "canary"}).json()
    rotated = ada.post(f"/tokens/{issued['id']}/rotation").json()
    ApiClient(signed_in[:-1] + "!").get("/me")  # refused
    with inside(fixtures.acme):
        digests = list(ApiToken.objects.values_list("digest", flat=True))
        hashes = list(User.objects.exclude(password="").values_list("password", flat=True))
    canaries = [
        PASSWORD,
        OWN_PASSWORD,
        signed_in,
        issued["token"],
        rotated["token"],
        *digests,
        *hashes,
    ]

    places = dict(crawl(boss if who == "boss" else ada, fixtures))
    with inside(fixtures.acme):
        places["events"] = str(list(Event.objects.values()))
    places["logs"] = json.dumps([JsonFormatter().format(r) for r in caplog.records])

    for name, text in places.items():
        assert not [c for c in canaries if c in text], name
        assert '"password"' not in text, name


def test_no_stored_row_contains_token_text(fixtures, as_):
    issued = as_(fixtures.ada).post("/tokens", {"name": "x"}).json()

    with inside(fixtures.acme):
        row = ApiToken.objects.filter(pk=issued["id"]).values().get()
    assert issued["token"] not in str(row)
    assert issued["token"].startswith(row["prefix"])
    assert len(row["prefix"]) <= 12, "the shown part must not help to guess the rest"
