"""The WSGI application that the server calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries

from taskflow.db.sqlite.deadline import LIMIT_SECONDS, limit_time
from taskflow.db.sqlite.statistics import restore_on_connect
from taskflow.http.request import Request
from taskflow.startup import describe_failure

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")
try:
    handler: Any = get_wsgi_application()
except ImproperlyConfigured as error:
    sys.exit(describe_failure(error))
handler.request_class = Request
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
