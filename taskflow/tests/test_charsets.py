"""Query strings and bodies are UTF-8, and no header or path causes a server error."""

from __future__ import annotations

import io
import json

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import RequestFactory

from conftest import ApiClient
from taskflow.wsgi import application

pytestmark = pytest.mark.one_database

NO_TEXT = ["rot13", "hex", "base64", "zlib", "bz2", "punycode", "undefined"]
OTHERS = ["latin-1", "utf-16", "cp037", "utf-7", "utf-8-sig", "nosuch", "idna"]
UNREADABLE = ["text/plain; charset*=nosuch''x", "text/plain; a*=undefined''%41", "a; charset=\0"]
PAGES = ["/api/v1/tasks", "/api/v1/nothing", "/api/v1/docs", "/admin/login/", "/livez", "/readyz"]


@pytest.fixture(autouse=True)
def _keep_connections():
    """The connection holds the transaction of the test; Django's client connects both signals."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_finished.connect(close_old_connections)


def send(method="GET", path="/api/v1/me", body=b"", **environ):
    """Return the status and the text of the WSGI application."""
    base = RequestFactory().generic(method, path).environ
    base |= {"HTTP_HOST": "localhost", "CONTENT_LENGTH": str(len(body) or "")}
    statuses: list[int] = []
    parts = application(
        base | {"wsgi.input": io.BytesIO(body)} | environ,
        lambda status, _headers: statuses.append(int(status.split()[0])),
    )
    return statuses[0], b"".join(parts).decode()


@pytest.fixture
def bearer(fixtures, as_):
    return {"HTTP_AUTHORIZATION": f"Bearer {as_(fixtures.ada).token}"}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("charset", NO_TEXT + OTHERS)
def test_charset_of_a_request_without_a_body_changes_nothing(bearer, charset):
    path, kind = "/api/v1/tasks?q=Launch&status=todo&limit=7", f"text/plain; charset={charset}"

    assert send(path=path, CONTENT_TYPE=kind, **bearer) == send(path=path, **bearer)
    assert send(path=path, **bearer)[0] == 200
    for page in PAGES:
        expected, _ = send(path=f"{page}?status=todo")
        assert send(path=f"{page}?status=todo", CONTENT_TYPE=kind)[0] == expected < 500


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("page", PAGES)
def test_content_type_that_cannot_be_read_changes_nothing(db, page, kind):
    expected, _ = send(path=f"{page}?x=1")

    assert send(path=f"{page}?x=1", CONTENT_TYPE=kind)[0] == expected < 500


@pytest.mark.parametrize("kind", UNREADABLE)
def test_body_with_a_content_type_that_cannot_be_read_is_refused(bearer, kind):
    status, text = send("POST", "/api/v1/tags", b"{}", CONTENT_TYPE=kind, **bearer)

    assert (status, json.loads(text)["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("charset", [*NO_TEXT, *OTHERS, '""'])
def test_body_in_another_charset_is_refused(bearer, charset):
    for path, kind in (
        ("/api/v1/tags?dry_run=true", "application/json"),
        ("/api/v1/auth/login", "application/json"),
    ):
        kind = f"{kind}; charset={charset}"
        status, text = send("POST", path, b"{}", CONTENT_TYPE=kind, **bearer)
        assert (status, json.loads(text)["detail"]) == (415, "Send the body as UTF-8.")

    form = f"application/x-www-form-urlencoded; charset={charset}"
    refusal = send("POST", "/admin/login/?next=x", b"x=1", CONTENT_TYPE=form)
    assert refusal == (415, "Send the body as UTF-8.")


def test_refusal_of_another_charset_is_as_the_openapi_document_declares(fixtures, as_):
    """Only operations that take a body answer 415."""
    client, kind = as_(fixtures.ada), "application/json; charset=latin-1"

    statuses = [client.generic(m, "/tags", "{}", kind).status_code for m in ("POST", "GET")]

    assert statuses == [415, 422]


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8", '"utf-8"'])
def test_body_in_utf8_is_accepted(bearer, charset):
    kind = f"application/json; charset={charset}"
    body = '{"name": "Ä"}'.encode()

    status, text = send("POST", "/api/v1/tags?dry_run=true", body, CONTENT_TYPE=kind, **bearer)

    assert (status, json.loads(text)["name"]) == (201, "Ä")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_json_that_is_not_utf8_is_refused(fixtures, as_, encoding):
    body = '{"name": "Ä"}'.encode(encoding)

    r = as_(fixtures.ada).generic("POST", "/tags", body, "application/json")

    assert (r.status_code, r.json()["code"]) == (400, "malformed_json")
    assert "UTF-8" in r.json()["detail"]


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 5000, "-" + "9" * 5000])
def test_number_of_too_many_digits_is_refused_with_a_clear_detail(fixtures, as_, digits):
    r = as_(fixtures.ada).generic("POST", "/tags", f'{{"name": {digits}}}', "application/json")

    detail = "The body cannot be read. A number does not fit 64 bits. Send it as a text."
    assert (r.status_code, r.json()["detail"]) == (400, detail)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_openapi_document_request_with_a_body_is_refused(db, path):
    with_body = ApiClient().generic("GET", path, "{}", "application/json")
    chunked = ApiClient().get(path, HTTP_TRANSFER_ENCODING="chunked")

    assert (with_body.status_code, with_body.json()["code"]) == (422, "unexpected_body")
    assert (chunked.status_code, chunked.json()["code"]) == (411, "length_required")
    assert ApiClient().get(path).status_code == 200


# ---- no header makes the server fail -------------------------------------------------------------

HEADERS = [
    "HTTP_HOST",
    "HTTP_AUTHORIZATION",
    "HTTP_X_TENANT",
    "HTTP_X_REQUEST_ID",
    "HTTP_COOKIE",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IDEMPOTENCY_KEY",
    "HTTP_REFERER",
    "HTTP_ORIGIN",
    "HTTP_X_CSRFTOKEN",
    "HTTP_ACCEPT",
    "HTTP_TRANSFER_ENCODING",
    "QUERY_STRING",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_RANGE",
]
VALUES = ["", "\xc4", "\0", "\xff\xfe", "\xed\xa0\x80", "x" * 70_000, "9" * 5000, "[", '"', ";", "=",
          "%", "%ff%00", "a; b*=nosuch''c", "a; b*0*=undefined''%41; b*x=1", "-1", "\xb2", "http://["]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_any_header_value_causes_no_server_error(bearer, header):
    for value in VALUES:
        read = send(path="/api/v1/tasks/APO-1", **bearer | {header: value})
        write = send("POST", "/api/v1/tags", b"{}", **bearer | {header: value})
        page = send("POST", "/admin/login/", b"x=1", **{header: value})
        assert max(read[0], write[0], page[0]) < 500, (header, value[:20])


def test_any_cookie_or_credentials_cause_no_server_error(fixtures):
    for value in VALUES:
        cookie = f"sessionid={value}; csrftoken={value}"
        assert send(HTTP_COOKIE=cookie)[0] < 500, value[:20]
        assert send(path="/admin/", HTTP_COOKIE=cookie)[0] < 500, value[:20]
        assert send(HTTP_AUTHORIZATION=f"Bearer tf_{value}")[0] < 500, value[:20]


@pytest.mark.parametrize("start", ["/", "/api/v1/", "/api/v1/tasks/", "/admin/", "/static/"])
def test_any_path_causes_no_server_error(db, start):
    for value in VALUES:
        assert send(PATH_INFO=start + value)[0] < 500, value[:20]
