"""HEAD, OPTIONS and Allow at every address of the API."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database

PATHS = api_document()["paths"]
UNUSUAL = ("TRACE", "CONNECT", "PROPFIND", "NOTHING")
METHODS = {"get", "post", "put", "patch", "delete"}
EXISTING = {"task_id": "APO-1", "project_id": "APO", "kind": "task", "ref": "x"}


def address(path):
    """The path with values; 0 is the id of no row."""
    return re.sub(r"{(\w+)}", lambda match: EXISTING.get(match[1], "0"), path)


def allowed_methods(path):
    methods = {method.upper() for method in PATHS[path]}
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize("path", PATHS)
def test_options_answers_the_allowed_methods(client, db, path):
    r = client.options(address(path))

    assert (r.status_code, r.content) == (204, b"")
    assert set(r.headers["Allow"].split(", ")) == allowed_methods(path)
    assert "Content-Type" not in r.headers


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused_with_the_allowed_ones(client, db, path):
    for method in METHODS - PATHS[path].keys():
        r = getattr(client, method)(address(path))

        assert (r.status_code, r.json()["code"]) == (405, "method_not_allowed")
        assert set(r.headers["Allow"].split(", ")) == allowed_methods(path)


@pytest.mark.parametrize("path", [path for path in PATHS if "get" in PATHS[path]])
def test_head_has_the_status_and_headers_of_get(fixtures, as_, path):
    client = as_(fixtures.boss)
    client.get("/me")  # the first use of a token changes the list of tokens
    path += {"search": "?q=launch", "counts": "?group_by=status"}.get(path.rpartition("/")[2], "")

    get, head = (getattr(client, method)(address(path)) for method in ("get", "head"))

    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers.keys() == get.headers.keys()
    assert head.headers.get("ETag") == get.headers.get("ETag")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("path", ["/api/v1/docs", "/api/v1/openapi.json"])
def test_documents_can_only_be_read(client, db, path):
    assert client.head(path).status_code == 200
    assert client.options(path).headers["Allow"] == "GET, HEAD, OPTIONS"
    for method in METHODS - {"get"}:
        r = getattr(client, method)(path)
        assert (r.status_code, r.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_options_of_no_address_is_404(client, db):
    assert client.options("/api/v1/nothing").status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_trace_connect_and_unknown_methods_of_the_api_are_refused(client, db, path):
    for method in UNUSUAL:
        r = client.generic(method, address(path))

        assert (r.status_code, r.json()["code"]) == (405, "method_not_allowed")
        assert set(r.headers["Allow"].split(", ")) == allowed_methods(path)


@pytest.mark.parametrize(
    "path",
    ["/", "/admin/", "/admin/login/", "/livez", "/readyz", "/llms.txt", "/static/x", "/none"],
)
def test_trace_connect_and_unknown_methods_of_pages_are_refused(client, db, path):
    for method in (*UNUSUAL, "PUT", "PATCH", "DELETE"):
        r = Client().generic(method, path)

        assert (r.status_code, r.content) == (405, b"")
        assert r.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
