"""The Location of each created object can be read by GET, once and again with its ETag."""

from __future__ import annotations

import pytest

from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database

CREATED = {
    "create_task": ("post", "/tasks", {"project": "APO", "title": "x"}),
    "upsert_task": ("put", "/projects/APO/tasks/by-ref/r-1", {"title": "x"}),
    "create_project": ("post", "/projects", {"name": "N"}),
    "add_member": ("post", "/projects/APO/members", {"user": "@eve"}),
    "create_tag": ("post", "/tags", {"name": "fresh"}),
    "create_view": ("post", "/views", {"name": "x", "where": {"tag": ["x"]}}),
    "create_comment": ("post", "/comments", {"task": "APO-1", "body": "x"}),
    "create_page": ("post", "/pages", {"project": "APO", "title": "x"}),
    "create_user": ("post", "/users", {"email": "new@acme.example"}),
    "create_invitation": ("post", "/invitations", {"email": "new@acme.example"}),
    "create_webhook": ("post", "/webhooks", {"url": "https://hooks.example/"}),
    "rotate_webhook_secret": ("post", "/webhooks/{webhook}/rotation", None),
    "create_token": ("post", "/tokens", {"name": "x"}),
    "rotate_token": ("post", "/tokens/{token}/rotation", None),
}


@pytest.mark.parametrize("name", CREATED)
def test_location_of_a_created_object_can_be_read(fixtures, as_, mailbox, name):
    client = as_(fixtures.boss)
    token = client.post("/tokens", {"name": "old"}).json()["id"]
    webhook = client.post("/webhooks", {"url": "https://hooks.example/"}).json()["id"]
    method, path, body = CREATED[name]

    created = getattr(client, method)(path.format(token=token, webhook=webhook), body)
    found = client.get(created.headers["Location"])

    assert (created.status_code, found.status_code) == (201, 200)
    assert found.json() == {n: v for n, v in created.json().items() if n not in ("token", "secret")}
    assert found.headers["ETag"].split("-")[:3] == created.headers["ETag"].split("-")[:3]
    known = client.get(
        created.headers["Location"], headers={"If-None-Match": found.headers["ETag"]}
    )
    assert (known.status_code, known.content) == (304, b"")


def test_every_operation_that_creates_an_object_is_in_the_table():
    """Registering creates a tenant and answers with a token, and a request for claims answers with
    several: they have no Location.
    """
    creating = {
        operation["operationId"]
        for methods in api_document()["paths"].values()
        for operation in methods.values()
        if "201" in operation["responses"]
    }

    assert creating - {"register", "create_claims"} == CREATED.keys()


def test_put_of_a_page_changes_what_was_sent(fixtures, as_):
    """As PATCH does. PUT of other types is tested with their fields."""
    client = as_(fixtures.boss)
    page = client.post("/pages", {"project": "APO", "title": "x", "body": "kept"}).json()

    r = client.put(f"/pages/{page['id']}", {"title": "y"})

    assert r.status_code == 200
    assert (r.json()["title"], r.json()["body"], r.json()["version"]) == ("y", "kept", 2)
