"""The WSGI application that the server calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings
from django.core.cache import close_caches
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import reset_urlconf
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.http.response import HttpResponseBase

from taskflow.db.sqlite.deadline import LIMIT_SECONDS, limit_time
from taskflow.db.sqlite.statistics import restore_on_connect
from taskflow.http.request import Request
from taskflow.startup import describe_failure

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")


class Handler(WSGIHandler):
    """Django's handler for a server without a script prefix and without `wsgi.file_wrapper`."""

    request_class = Request

    def __call__(self, environ: dict[str, Any], start_response: Any) -> HttpResponseBase:
        request_started.send(sender=Handler, environ=environ)
        response = self.get_response(Request(environ))
        # Django's own loop over the headers makes five calls for each of them.
        headers = list(response.headers._store.values())
        headers += [
            ("Set-Cookie", cookie.output(header="")) for cookie in response.cookies.values()
        ]
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        return response


try:
    django.setup(set_prefix=False)
    handler: Any = Handler()
except ImproperlyConfigured as error:
    sys.exit(describe_failure(error))
limit_time(LIMIT_SECONDS)
restore_on_connect()

# Connections are checked at the end of each request. There is no cache, and one set of URLs.
request_started.disconnect(close_old_connections)
request_finished.disconnect(close_caches)
request_finished.disconnect(reset_urlconf)
if not settings.DEBUG:  # the list of queries is empty without DEBUG
    request_started.disconnect(reset_queries)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Return the body of the response as a list of one part.

    Granian sends a list at once. It would pass the parts of an iterator from thread to thread.
    """
    response = handler(environ, start_response)
    if getattr(response, "streaming", True):
        return response  # type: ignore[no-any-return]
    try:
        return [response.content]
    finally:
        response.close()
