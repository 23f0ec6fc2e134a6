"""Every request body that the OpenAPI document shows as an example succeeds on the demo, unchanged."""

from __future__ import annotations

import json
import re

import pytest

from accounts.models import Tenant
from conftest import ApiClient, CheckedClient
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.models import (
    Claim,
    Comment,
    Notification,
    Page,
    ProjectMember,
    Tag,
    Task,
    View,
    Webhook,
)
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import seed_demo

pytestmark = pytest.mark.one_database

OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in api_document()["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
}
# No example can succeed: they take a code of the moment, or need a second factor.
NEED_A_SECOND_FACTOR = {
    "begin_enrolment",
    "confirm_enrolment",
    "confirm_second_factor",
    "renew_recovery_codes",
    "remove_second_factor",
}
NEEDS_A_MAIL = {
    "complete_password_reset",
    "complete_email_change",
    "accept_invitation",
}  # their token is in a mail
BODIES = [
    (name, kind)
    for name in OPERATIONS
    if name not in NEED_A_SECOND_FACTOR | NEEDS_A_MAIL
    for kind in OPERATIONS[name][2]["requestBody"]["content"]
]
# Required parameters of the query, whose value depends on the media type of the body.
QUERIES = {
    ("import_project", "text/csv"): "?profile=jira",
    ("import_project", "application/json"): "?profile=github",
}
WITHOUT_TOKEN = {"login", "register", "request_password_reset"}
MODELS = {"comment_id": Comment, "page_id": Page, "member_id": ProjectMember, "tag_id": Tag}
MODELS |= {"webhook_id": Webhook, "claim_id": Claim, "view_id": View}
MODELS |= {"notification_id": Notification}


@pytest.fixture
def demo_client(db, settings):
    """A client with the demo token, on a fresh demo with its fixed password."""
    settings.DEBUG, settings.DEFAULT_TENANT, settings.SENDS_MAIL = True, DEMO_TENANT, True
    client = ApiClient(seed_demo().token)
    client.post("/webhooks", {"url": "https://hooks.example/"})
    client.post("/claims", {"where": {"project": ["WEB"]}})
    user, tenant = client.get("/me").json(), Tenant.objects.get(subdomain=DEMO_TENANT)
    with inside(tenant):
        task = Task.objects.earliest("pk")
        Notification.objects.create(pk=1, user_id=user["id"], kind="assigned", task=task)
    return client


def value_of(parameter):
    """The example of a path parameter.

    In a new database, the demo's rows have the ids 1, 2, 3. Here they may have others, so that an
    example of 4 stands for the fourth row.
    """
    model = MODELS.get(parameter["name"])
    if model is None:
        return parameter["example"]
    with inside(Tenant.objects.get(subdomain=DEMO_TENANT)):
        return model.objects.order_by("pk").values_list("pk", flat=True)[parameter["example"] - 1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "media_type"), BODIES)
def test_example_request_succeeds_on_the_demo(demo_client, name, media_type):
    method, path, operation = OPERATIONS[name]
    values = {p["name"]: value_of(p) for p in operation["parameters"] if p["in"] == "path"}
    example = operation["requestBody"]["content"][media_type]["example"]
    client = CheckedClient() if name in WITHOUT_TOKEN else demo_client

    response = client.generic(
        method.upper(),
        re.sub(r"{(\w+)}", lambda match: str(values[match[1]]), path)
        + QUERIES.get((name, media_type), ""),
        example if isinstance(example, str) else json.dumps(example),
        content_type=media_type,
    )

    assert response.status_code in (200, 201, 202, 204), response.content
    assert str(response.status_code) in operation["responses"]
