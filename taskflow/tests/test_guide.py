"""The index of the API and the guide at /llms.txt name what exists."""

from __future__ import annotations

import re

import pytest

from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/"])
def test_index_needs_no_credentials_and_links_to_pages_that_exist(client, db, path):
    r = client.get(path)

    assert (r.status_code, r.json()["name"], r.json()["version"]) == (200, "TaskFlow", "1")
    links = [value for value in r.json().values() if value.startswith("/")]
    assert len(links) == 4
    assert [client.get(link).status_code for link in links] == [200] * 4


def test_guide_is_plain_text(client, db):
    r = client.get("/llms.txt")

    assert (r.status_code, r.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert r.content.decode().startswith("# TaskFlow\n\n> ")
    assert client.post("/llms.txt").status_code == 405


def test_requests_of_the_guide_are_operations(client, db):
    text = client.get("/llms.txt").content.decode()
    templates = {
        (method.upper(), re.sub(r"{\w+}", "[^/]+", path))
        for path, methods in api_document()["paths"].items()
        for method in methods
    }

    requests = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/api/v1[^`?]*)", text)

    assert len(requests) > 8
    for method, path in requests:
        assert any(m == method and re.fullmatch(t, path) for m, t in templates), (method, path)


def test_codes_parameters_and_headers_of_the_guide_are_in_the_document(client, db):
    text, document = client.get("/llms.txt").content.decode(), str(api_document())

    for word in re.findall(r"`([a-z_]+_[a-z_]+|[A-Z][\w-]+-[\w-]+)`", text):
        assert word == "_not" or word in document, word
