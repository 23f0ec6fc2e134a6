"""Function calls of a request, Python and C together: a cost that no other load changes.

Raise a limit only for a change that is worth the calls.
"""

from __future__ import annotations

import cProfile
import io
import json
import logging
import os
import pstats
from typing import Any

import pytest
from django.conf import settings
from django.core.signals import request_started
from django.db import close_old_connections, connection

from conftest import build_fixtures, token_of
from taskflow.wsgi import application

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="the figures are of PostgreSQL"),
    pytest.mark.skipif(bool(settings.POOLER), reason="the figures are without a pooler"),
]
WARM_UP = 6  # requests, after which everything is compiled, prepared and cached
# About 40 more than are counted alone: other tests of the process add up to 30.
LIMITS = {
    "one task": 655,
    "list": 990,
    "update": 1_230,
    "create": 1_225,
}


def environ_of(method: str, path: str, token: str, body: Any = None) -> dict[str, Any]:
    sent = b"" if body is None else json.dumps(body).encode()
    address, _, query = path.partition("?")
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": f"/api/v1{address}",
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json" if sent else "",
        "CONTENT_LENGTH": str(len(sent)) if sent else "",
        "wsgi.input": io.BytesIO(sent),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    }


@pytest.fixture(autouse=True)
def as_served():
    """Other tests leave log handlers behind, and Django's test client connects a signal again.

    The log line of a request, about 60 calls, is not counted.
    """
    logging.disable()
    request_started.disconnect(close_old_connections)
    yield
    logging.disable(logging.NOTSET)


def count_calls(environ: dict[str, Any]) -> int:
    """The calls of one request. Raises AssertionError when it is refused."""
    status: list[str] = []
    profile = cProfile.Profile()
    profile.enable()
    application(environ, lambda line, headers, info=None: status.append(line))
    profile.disable()
    assert status[0][0] == "2", status
    if path := os.environ.get("PROFILE_TO"):
        profile.dump_stats(f"{path}.{environ['REQUEST_METHOD']}{environ['PATH_INFO'].count('/')}")
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", LIMITS)
def test_request_takes_few_function_calls(name):
    connection.close()  # that of other tests may have reached its limit of prepared statements
    fixtures = build_fixtures()
    token = token_of(fixtures.bob)
    new = {"project_id": fixtures.apollo.pk, "title": "x"}
    requests = {
        "one task": lambda: ("GET", "/tasks/APO-1", token),
        "list": lambda: ("GET", "/tasks?project=APO&status=todo", token),
        "update": lambda: ("PATCH", "/tasks/APO-1", token, {"title": os.urandom(4).hex()}),
        "create": lambda: ("POST", "/tasks", token, new),
    }
    for _ in range(WARM_UP):
        count_calls(environ_of(*requests[name]()))

    calls = count_calls(environ_of(*requests[name]()))

    print(f"{name}: {calls} calls")
    assert calls <= LIMITS[name]
