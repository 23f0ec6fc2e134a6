"""Ids that no row can have: not found in paths, refused elsewhere, and never a 500."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from django.db import DataError, connection
from django.test import Client

from accounts.tokens import ALPHABET, CHECKSUM_LENGTH, read_tenant_id
from conftest import ApiClient, sign_in_browser
from taskflow.db.query import QueryCache
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from taskflow.tests.test_permissions import MATRIX, ids, operations, rolled_back
from tasks.models import Task

__all__ = ["ids"]  # a fixture

pytestmark = pytest.mark.slow

NO_ID = ("wait_seconds",)  # where 0 is allowed
MAX_DEPTH = 5  # of the places in a body: tasks in tasks have no end

LARGEST = 2**63 - 1
IDS = [
    str(LARGEST),
    str(LARGEST + 1),
    str(2**64),
    "9" * 19,
    "9" * 20,
    "9" * 5_000,  # more digits than Python turns into a number
    "9" * 100_000,
    "0",
    "-1",
    f"-{2**64}",
    "1e400",
    "1.0",
]
# Path parameters that are no ids; {ref} accepts any text.
TEXTS = {"{ref}": "x", "{kind}": "task"}
OPERATIONS = sorted(
    (method, path.removeprefix("/api/v1"), "requestBody" in operation)
    for path, methods in api_document()["paths"].items()
    for method, operation in methods.items()
    if "{" in path
)
FILTERS = {
    "/tasks": ["project", "assignee", "created_by", "parent", "blocked_by"],
    "/projects": ["owner"],
    "/comments": ["task", "author"],
    "/events": ["project", "task", "actor"],
    "/pages": ["project", "owner"],
}  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize("row_id", IDS, ids=lambda text: f"{text[:24]}-{len(text)}")
def test_impossible_id_in_a_path_is_not_found(fixtures, as_, row_id):
    client = as_(fixtures.boss)
    for method, path, has_body in OPERATIONS:
        for place, text in TEXTS.items():
            path = path.replace(place, text)
        head, _, rest = path.partition("{")
        url = f"{head}{row_id}{rest.partition('}')[2]}"

        body = "{}" if has_body else ""
        response = client.generic(method.upper(), url, body, content_type="application/json")

        # A body without a required field may be refused before the row is looked up.
        allowed = {404, 422} if has_body else {404}
        assert response.status_code in allowed, (method, url[:80], response.content)
        assert response["Content-Type"].startswith("application/problem+json")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("row_id", IDS, ids=lambda text: f"{text[:24]}-{len(text)}")
def test_impossible_id_in_a_filter_is_refused_or_selects_nothing(fixtures, as_, row_id):
    client = as_(fixtures.boss)
    for path, names in FILTERS.items():
        for name in names:
            response = client.get(path, {name: row_id})
            assert response.status_code in (200, 400, 422), (path, name, response.content)
            if response.status_code == 200 and not row_id.startswith("-"):  # which means “not”
                assert response.json()["data"] == [], (path, name)
        for name in ("skip", "limit", "cursor", "q"):
            response = client.get(path, {name: row_id[:4_000]})
            assert response.status_code in (200, 400, 422), (path, name, response.content)


@pytest.mark.parametrize("number", [LARGEST, LARGEST + 1, 2**64, -1, -(2**63) - 1, 0])
def test_impossible_id_in_a_body_is_refused(fixtures, as_, number):
    client = as_(fixtures.boss)
    bodies = {
        "/tasks": {"project_id": number, "title": "Test"},
        f"/tasks/{fixtures.task.pk}/move": {"project_id": number},
        f"/tasks/{fixtures.task.pk}/assignment": {"assignee_id": number},
        "/comments": {"task_id": number, "body": "Test"},
        "/undo": {"event_ids": [number]},
        "/tasks/bulk": {"operations": [{"op": "complete", "id": number}]},
    }
    for path, body in bodies.items():
        assert client.post(path, body).status_code in (400, 404, 422), path


@pytest.mark.parametrize("number", [LARGEST + 1, -(2**64), 10**4000])
def test_impossible_id_in_a_cursor_is_refused(fixtures, as_, number):
    for order in ("", "&sort=number", "&sort=-priority", "&sort=title"):
        sort = {"": "-id", "&sort=number": "number,id", "&sort=-priority": "-priority_rank,-id"}
        values = [f"task:{sort.get(order, 'title,id')}", *([1] if order else []), number]
        cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

        response = as_(fixtures.ada).get(f"/tasks?cursor={cursor}{order}")

        assert response.status_code in (400, 422)
        assert response.json()["code"] in ("invalid_cursor", "validation_failed")


def signed_in(actor):
    """Return a browser client in which this administrator is signed in."""
    client = Client(SERVER_NAME=f"{actor.tenant.subdomain}.localhost")
    with inside(actor.tenant):
        sign_in_browser(client, actor.user)
    return client


@pytest.mark.sampled(3)
@pytest.mark.parametrize("row_id", IDS, ids=lambda text: f"{text[:24]}-{len(text)}")
def test_impossible_id_in_the_path_of_an_admin_page_is_no_server_error(fixtures, row_id):
    admin = signed_in(fixtures.boss)
    for model in ("tasks/task", "tasks/project", "accounts/user", "accounts/apitoken"):
        for page in ("change", "history", "delete"):
            response = admin.get(f"/admin/{model}/{row_id}/{page}/")
            assert response.status_code in (302, 403, 404), (model, page)


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("row_id", IDS, ids=lambda text: f"{text[:24]}-{len(text)}")
def test_impossible_id_in_an_admin_list_is_no_server_error(fixtures, row_id):
    admin = signed_in(fixtures.boss)
    for model in ("tasks/task", "tasks/project", "accounts/user"):
        action = {"action": "delete_selected", "_selected_action": [row_id], "index": "0"}
        for response in (
            admin.get(f"/admin/{model}/", {"p": row_id}),
            admin.get(f"/admin/{model}/", {"q": row_id[:4_000]}),
            admin.get(f"/admin/{model}/", {"id": row_id}),
            admin.get(f"/admin/{model}/", {"id__exact": row_id}),
            admin.post(f"/admin/{model}/", action),
        ):
            assert response.status_code in (200, 302, 400, 403, 404), (model, response.content)
    for path in ("/admin/audit/event/undo/", f"/admin/accounts/user/{row_id}/offboarding/"):
        assert admin.get(path, {"event_ids": row_id}).status_code in (200, 302, 400, 404)


def places_of_ids(schema, path=()):
    """Yield the paths of the values in a request body that may be an id."""
    if "$ref" in schema:
        schema = api_document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from places_of_ids(option, path)
    if schema.get("type") == "integer" and path[-1:] != NO_ID and len(path) < MAX_DEPTH:
        yield path
    for name, part in schema.get("properties", {}).items():
        if len(path) < MAX_DEPTH:
            yield from places_of_ids(part, (*path, name))
    if isinstance(items := schema.get("items"), dict) and len(path) < MAX_DEPTH:
        yield from places_of_ids(items, (*path, 0))


def put(body, path, value):
    """Return a copy of the body in which this value is at the path. Missing parts are created."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step == 0:
        first = body[0] if isinstance(body, list) and body else None
        return [put(first, rest, value)]
    body = body if isinstance(body, dict) else {}
    return body | {step: put(body.get(step), rest, value)}


@pytest.mark.sampled(20)
@pytest.mark.parametrize("operation", sorted(MATRIX))
def test_impossible_id_anywhere_in_a_body_is_refused(fixtures, as_, ids, operation):
    method, path, body, *_ = MATRIX[operation]
    spec = operations()[operation][2]
    content = spec.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return
    values = body if isinstance(body, dict) else {}
    sent = {k: ids.get(v, v) if isinstance(v, str) else v for k, v in values.items()}
    client = as_(fixtures.boss)
    for place in sorted(set(places_of_ids(content["schema"])), key=str):
        for number in (LARGEST, LARGEST + 1, 2**64, str(LARGEST + 1), -(2**63) - 1, 0):
            with rolled_back():
                r = getattr(client, method)(path.format(**ids), put(sent, place, number))

            assert r.status_code in (400, 403, 404, 409, 422), (place, number, r.content)


@pytest.mark.sampled(20)
@pytest.mark.parametrize("operation", sorted(MATRIX))
def test_impossible_id_in_any_query_parameter_is_no_server_error(fixtures, as_, ids, operation):
    method, path, body, *_ = MATRIX[operation]
    spec = operations()[operation][2]
    names = [p["name"] for p in spec.get("parameters", ()) if p["in"] == "query"]
    client = as_(fixtures.boss)
    how = {"content_type": "text/csv"} if isinstance(body, str) else {}
    sent = body
    if isinstance(body, dict):
        sent = {k: ids.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    for name in names:
        for number in (LARGEST, LARGEST + 1, 2**64, -1, "9" * 5_000):
            url = f"{path.format(**ids)}{'&' if '?' in path else '?'}{name}={number}"
            with rolled_back():
                r = getattr(client, method)(url, *([] if method == "get" else [sent]), **how)

            assert r.status_code < 500, (name, number, r.content)


def test_precondition_with_an_impossible_id_fails_with_412(fixtures, as_):
    for row_id in (LARGEST + 1, 10**30):
        headers = {"if-match": f'"task-{row_id}-1"'}
        response = as_(fixtures.ada).patch(
            f"/tasks/{fixtures.task.pk}", {"title": "Other"}, headers=headers
        )
        assert response.status_code == 412


def token_for(tenant_id):
    """Return a well-formed token text with a correct checksum."""
    body = f"tf_{tenant_id}_{'a' * 43}"
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return body + digits


@pytest.mark.parametrize("tenant_id", [LARGEST, LARGEST + 1, 10**19 - 1])
def test_token_of_an_impossible_tenant_gets_401(db, tenant_id):
    text = token_for(tenant_id)

    assert read_tenant_id(text) == (tenant_id if tenant_id <= LARGEST else None)
    assert ApiClient(text).get("/tasks").status_code == 401
    assert ApiClient(text).post("/tasks", {}).status_code == 401


def test_number_above_64_bits_raises_data_error_on_both_databases(fixtures):
    tasks = QueryCache(lambda pk: Task.objects.filter(pk=pk).values_list("pk"))

    with inside(fixtures.acme):
        assert tasks.fetch((), fixtures.task.pk) == [(fixtures.task.pk,)]
    with pytest.raises(DataError), inside(fixtures.acme):
        tasks.fetch((), 2**64)
    assert connection.vendor in ("sqlite", "postgresql")
