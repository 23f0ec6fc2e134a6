"""gzip: which responses are compressed, and which never are."""

from __future__ import annotations

import gzip
import json

import pytest
from django.test import Client

from accounts.tokens import MAIL_LINK, make_token_text
from conftest import PASSWORD, token_of
from taskflow.http.compression import MIN_BYTES, TOKEN_PATTERN, accepts_gzip
from taskflow.tenancy import inside
from tasks.changes.tasks import create_task

pytestmark = pytest.mark.one_database


@pytest.fixture
def client(fixtures):
    """Ada's client, which accepts gzip. It is a plain one: the body is read as it was sent."""
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="long", description="ü🚀 x" * 400)
    return client_of(fixtures.ada)


def client_of(actor):
    headers = {"Authorization": f"Bearer {token_of(actor)}", "Accept-Encoding": "gzip"}
    return Client(headers=headers)


def post(client, path, body=None, **headers):
    how = {"content_type": "application/json", "headers": headers}
    return client.post(f"/api/v1{path}", body or {}, **how)


def body_of(r):
    return json.loads(gzip.decompress(r.content))


def test_long_response_is_compressed(client):
    whole = client.get("/api/v1/tasks", headers={"Accept-Encoding": "identity"})

    r = client.get("/api/v1/tasks")

    assert r.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in r.headers["Vary"]
    assert body_of(r) == whole.json()
    assert len(r.content) < len(whole.content) / 2
    assert r.headers["ETag"] == f"W/{whole.headers['ETag']}"
    assert "Content-Encoding" not in whole.headers
    assert "Accept-Encoding" in whole.headers["Vary"]


def test_short_response_is_sent_as_it_is(client):
    r = client.get("/api/v1/tags")

    assert len(r.content) < MIN_BYTES
    assert "Content-Encoding" not in r.headers


@pytest.mark.sampled(1)
@pytest.mark.parametrize("path", ["/projects/APO/tasks.csv", "/nothing", "/openapi.json"])
def test_files_documents_and_errors_follow_the_same_rule(client, path):
    r = client.get(f"/api/v1{path}")

    whole = gzip.decompress(r.content) if "Content-Encoding" in r.headers else r.content
    assert ("Content-Encoding" in r.headers) == (len(whole) >= MIN_BYTES)


def test_write_is_compressed_and_its_retry_is_too(client):
    body = {"project": "APO", "title": "x", "description": "y" * 2000}
    first, again = (post(client, "/tasks", body, **{"Idempotency-Key": "k"}) for _ in range(2))

    assert again.headers["Idempotency-Replayed"] == "true"
    assert body_of(first) == body_of(again)
    whole = post(client, "/tasks", body, **{"Idempotency-Key": "k", "Accept-Encoding": ""})
    assert whole.json() == body_of(first)


@pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/v1/tasks/APO-2"])
def test_etag_of_a_compressed_response_is_current(client, path):
    etag = client.get(path).headers["ETag"]

    r = client.get(path, headers={"If-None-Match": etag})

    assert (r.status_code, r.content) == (304, b"")
    assert "Content-Encoding" not in r.headers


def test_etag_of_a_compressed_response_is_a_precondition(client):
    etag = client.get("/api/v1/tasks/APO-2").headers["ETag"]

    r = client.patch(
        "/api/v1/tasks/APO-2",
        {"title": "New"},
        content_type="application/json",
        headers={"If-Match": etag},
    )

    assert r.status_code == 200


def test_head_has_the_headers_of_get(client):
    get, head = client.get("/api/v1/tasks"), client.head("/api/v1/tasks")

    for name in ("Content-Encoding", "ETag", "Vary"):
        assert head.headers[name] == get.headers[name]


def long_name():
    return {"name": "x" * 100}


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize("operation", ["login", "register", "create", "rotate", "plan"])
def test_response_with_a_token_is_never_compressed(
    fixtures, client, settings, monkeypatch, operation, key
):
    """Not even above the size, as a replay, or inside of a plan."""
    monkeypatch.setattr("taskflow.http.compression.MIN_BYTES", 1)
    if operation == "login":
        with inside(fixtures.acme):
            user = fixtures.ada.user
            user.set_password(PASSWORD)
            type(user)._base_manager.filter(pk=user.pk).update(password=user.password)
    registration = {
        "tenant_name": "N",
        "subdomain": "new",
        "full_name": "N",
        "email": "n@x.example",
        "password": PASSWORD,
    }
    token = client.get("/api/v1/tokens", headers={"Accept-Encoding": ""}).json()["data"][0]["id"]
    path, body = {
        "login": ("/auth/login", {"email": "ada@acme.example", "password": PASSWORD}),
        "register": ("/auth/register", registration),
        "create": ("/tokens", long_name()),
        "rotate": (f"/tokens/{token}/rotation", None),
        "plan": ("/plans", {"method": "POST", "path": "/api/v1/tokens", "body": long_name()}),
    }[operation]
    repeats = 2 if key and operation in ("create", "rotate") else 1

    for _ in range(repeats):
        r = client.post(f"/api/v1{path}", body or "", content_type="application/json", headers=key)

    assert r.status_code in (200, 201), r.content
    assert b"tf_" in r.content
    assert "Content-Encoding" not in r.headers


def test_pattern_of_tokens_finds_every_token():
    for tenant_id in (1, 12, 2**63 - 1):
        assert TOKEN_PATTERN.search(f'"{make_token_text(tenant_id)}"'.encode())
        assert TOKEN_PATTERN.search(make_token_text(tenant_id, kind=MAIL_LINK).encode())


def test_page_is_compressed_and_varies(client):
    r = client.get("/admin/login/")

    assert r.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in r.headers["Vary"]
    assert b"<html" in gzip.decompress(r.content)
    assert int(r.headers["Content-Length"]) == len(r.content)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("GZIP ; q=0.001", True),
        ("*", True),
        ("", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*;q=0", False),
        ("gzip;q=x", False),
        ("*, gzip;q=0", False),
        ("xgzip", False),
    ],
)
def test_accept_encoding_is_read_with_its_weights(header, expected):
    assert accepts_gzip(header) is expected
