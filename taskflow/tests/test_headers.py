"""Headers of responses."""

from __future__ import annotations

import re

import pytest
from django.test import override_settings

from conftest import ApiClient

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users", {"email": "n@acme.example"}),
        ("/tokens", {"name": "x"}),
        ("/projects", {"name": "x"}),
        ("/tags", {"name": "x"}),
        ("/tasks", {"project_id": 0, "title": "x"}),
    ],
)
def test_created_row_has_its_path_as_location(fixtures, as_, path, body):
    body = {k: fixtures.apollo.pk if k == "project_id" else v for k, v in body.items()}

    r = as_(fixtures.boss).post(path, body)

    assert (r.status_code, r.headers["Location"]) == (201, f"/api/v1{path}/{r.json()['id']}")


def test_row_created_below_another_has_its_own_path_as_location(fixtures, as_):
    """There is no path such as /projects/3/members/7."""
    boss = as_(fixtures.boss)
    token = boss.post("/tokens", {"name": "x"}).json()["id"]

    member = boss.post("/projects/APO/members", {"user_id": fixtures.eve.user.pk})
    rotated = boss.post(f"/tokens/{token}/rotation")

    assert member.headers["Location"] == f"/api/v1/members/{member.json()['id']}"
    assert rotated.headers["Location"] == f"/api/v1/tokens/{rotated.json()['id']}"
    assert boss.delete(member.headers["Location"]).status_code == 204


@pytest.mark.parametrize("path", ["/me", "/tasks/APO-1", "/projects/APO", "/users/{eve}"])
def test_etag_changes_with_the_version_of_the_row(fixtures, as_, path):
    client, path = as_(fixtures.boss), path.format(eve=fixtures.eve.user.pk)
    field = "title" if "tasks" in path else "name" if "projects" in path else "full_name"

    first, again = (client.get(path).headers["ETag"] for _ in range(2))
    changed = client.patch(path, {field: "New"}).headers["ETag"]

    assert first == again != changed == client.get(path).headers["ETag"]


@pytest.mark.parametrize("path", ["/nothing", "/tasks?x=1"])
def test_errors_have_no_etag(fixtures, as_, path):
    assert "ETag" not in as_(fixtures.boss).get(path).headers


@pytest.mark.parametrize(
    ("path", "status"),
    [("/me", 200), ("/nothing", 404), ("/tasks?x=1", 422), ("/tasks/NIX-1", 404)],
)
def test_error_responses_have_the_same_security_headers(fixtures, as_, path, status):
    r = as_(fixtures.ada).get(path)

    assert r.status_code == status
    assert r.headers["Cache-Control"] == "private, no-store"
    assert r.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    assert r.headers["X-Frame-Options"] == "DENY"
    assert {"Authorization", "Cookie", "X-Tenant"} <= set(re.split(", *", r.headers["Vary"]))
    assert not r.cookies


def test_request_without_credentials_gets_www_authenticate(db):
    r = ApiClient().get("/me")

    assert (r.status_code, r.headers["WWW-Authenticate"]) == (401, 'Bearer realm="taskflow"')


@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
def test_preflight_request_of_an_allowed_origin_succeeds(db):
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type",
    }

    r = ApiClient().options("/tasks/1", headers=headers)

    assert r.status_code == 200
    assert "PATCH" in r.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "x-tenant"} <= set(
        r.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in r.headers, "tokens, never cookies"


@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
@pytest.mark.parametrize("path", ["/me", "/nothing", "/tasks?x=1", "/users/x"])
def test_error_response_has_cors_headers(db, path):
    """Without the header, a browser reports a network error instead of the problem."""
    r = ApiClient().get(path, headers={"Origin": "https://app.example"})

    assert r.status_code >= 400
    assert r.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "x-request-id" in r.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", ["null", "http://[", "https://app.example.evil.example"])
@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
def test_response_to_another_origin_has_no_cors_headers(fixtures, as_, origin):
    r = as_(fixtures.ada).get("/me", headers={"Origin": origin})

    assert r.status_code == 200
    assert "Access-Control-Allow-Origin" not in r.headers


def test_response_has_private_cache_and_security_headers(fixtures, as_):
    client = as_(fixtures.ada)

    r = client.get("/tasks/APO-1")

    assert r.headers["Cache-Control"] == "private, no-store"
    assert r.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    assert {"Authorization", "Cookie", "X-Tenant"} <= set(re.split(", *", r.headers["Vary"]))
    assert r.headers["ETag"] == client.get("/tasks/APO-1").headers["ETag"]


def test_head_is_get_without_a_body(fixtures, as_):
    client = as_(fixtures.ada)

    r = client.head("/tasks/APO-1")

    assert (r.status_code, r.headers["ETag"]) == (200, client.get("/tasks/APO-1").headers["ETag"])


@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
def test_only_configured_origins_get_cors_headers(fixtures, as_):
    def allowed(origin):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        r = ApiClient().options("/tasks", headers=headers)
        return r.headers.get("Access-Control-Allow-Origin")

    assert allowed("https://app.example") == "https://app.example"
    assert allowed("https://evil.example") is None
    assert "Access-Control-Allow-Credentials" not in as_(fixtures.ada).get("/me").headers
