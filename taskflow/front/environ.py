"""The WSGI environment of a request."""

from __future__ import annotations

import io
import sys
from functools import cache

from taskflow.front.protocol import Environ, ServerHeaders, ServerScope
from taskflow.http.waiting import CAN_WAIT

EMPTY_BODY = io.BytesIO()
CONSTANT: Environ = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "granian",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input": EMPTY_BODY,
    CAN_WAIT: True,
}
SET_FOR_EACH = 8  # entries beside CONSTANT and the headers
# Names of headers in lower case, and their names in the environment. Filled as they come, up to a
# limit, since clients choose them.
NAMES = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
MAX_NAMES = 1_000
MAX_NAME_LENGTH = 64  # of a stored name; a header may have a name of 64 KB


def build_environ(scope: ServerScope) -> Environ:
    """Return the WSGI environment, with an empty body."""
    environ = CONSTANT.copy()
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope.http_version}"
    environ["SERVER_NAME"], environ["SERVER_PORT"] = split_address(scope.server)
    environ["REMOTE_ADDR"] = scope.client.rpartition(":")[0].strip("[]")
    environ["REQUEST_METHOD"] = scope.method
    environ["PATH_INFO"] = as_wsgi_text(scope.path)
    environ["QUERY_STRING"] = as_wsgi_text(scope.query_string)
    environ["wsgi.url_scheme"] = scope.scheme
    add_headers(environ, scope.headers)
    if "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority or ""
    return environ


def add_headers(environ: Environ, headers: ServerHeaders) -> None:
    """Add the headers. Several of one name are joined, cookies by `;` and others by `,`.

    A name with an underscore is left out: X_Forwarded_For would become the same as X-Forwarded-For,
    which proxies set and clients must not.
    """
    for name, value in headers.items():
        key = NAMES.get(name) or name_header(name)
        if not key:
            continue
        if key in environ:
            environ[key] = f"{environ[key]}{';' if name == 'cookie' else ','}{value}"
        else:
            environ[key] = value
    if len(environ) < len(CONSTANT) + SET_FOR_EACH + len(headers):
        add_unreadable_headers(environ, headers)


def add_unreadable_headers(environ: Environ, headers: ServerHeaders) -> None:
    """Add as empty texts the headers whose values are not ASCII, which granian leaves out.

    Otherwise a write with such an If-Match would be a write without one.
    """
    for name in headers.keys():  # noqa: SIM118 - these are no dictionary
        key = NAMES.get(name) or name_header(name)
        if key:
            environ.setdefault(key, "")


def name_header(name: str) -> str:
    """Return the name of a header in the environment; an empty text for one to leave out."""
    key = "" if "_" in name else f"HTTP_{name.upper().replace('-', '_')}"
    if key and len(NAMES) < MAX_NAMES and len(name) <= MAX_NAME_LENGTH:
        NAMES[name] = key
    return key


def as_wsgi_text(text: str) -> str:
    """Return the bytes of a text in UTF-8, one character for each, as WSGI demands it."""
    return text if text.isascii() else text.encode().decode("latin-1")


@cache
def split_address(address: str) -> tuple[str, str]:
    """Return host and port of an address of this server."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
