"""
Static files, served from memory under names that contain a digest of their content.

`{% static "unfold/css/styles.css" %}` is `/static/unfold/css/styles.0a1b2c3d4e5f.css`. A browser
may keep it for a year, since another content has another name. The files are those of installed
packages and of our own apps: nothing has to be collected before the server starts.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import posixpath
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers

from taskflow.http.compression import MIN_BYTES, accepts_gzip

DIGEST_DIGITS = 12
HASHED_NAME = re.compile(rf"(.+)\.([0-9a-f]{{{DIGEST_DIGITS}}})(\.\w+)")
CSS_URL = re.compile(r"""url\((['"]?)(?!data:|[a-z]+:|/|#)([^'")?#]+)""")
FOREVER = f"public, max-age={365 * 24 * 3600}, immutable"
REVALIDATE = "public, no-cache"  # the name does not tell which content it has
# The table of the operating system differs from one machine to another.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
ICON_PATH = "/favicon.ico"  # where browsers look if a page names no icon
COMPRESSED_SUFFIXES = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt"})


@dataclass(frozen=True)
class StaticFile:
    """The content of a file, in which the files that a stylesheet names have their hashed names."""

    name: str  # below STATIC_URL, without the digest
    body: bytes
    modified: int  # of the file, in nanoseconds

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:DIGEST_DIGITS]

    @cached_property
    def hashed_name(self) -> str:
        stem, suffix = posixpath.splitext(self.name)
        return f"{stem}.{self.digest}{suffix}"

    @cached_property
    def content_type(self) -> str:
        return CONTENT_TYPES.get(posixpath.splitext(self.name)[1], "application/octet-stream")

    @cached_property
    def compressed(self) -> bytes | None:
        """The body with gzip; None if that is not worthwhile. Computed at the first request."""
        suffix = posixpath.splitext(self.name)[1]
        if suffix not in COMPRESSED_SUFFIXES or len(self.body) < MIN_BYTES:
            return None
        return gzip.compress(self.body, mtime=0)


class StaticFileStore:
    """The static files of all apps by their names. A file is read when it is first needed."""

    def __init__(self) -> None:
        self._paths = _list_paths()
        self._files: dict[str, StaticFile] = {}

    def find(self, name: str) -> StaticFile | None:
        """Return the file of this name, or None. With DEBUG on, a changed file is read again."""
        if name not in self._paths:
            if not settings.DEBUG:
                return None
            self._paths = _list_paths()  # it may be new
            if name not in self._paths:
                return None
        file = self._files.get(name)
        if file is None or (settings.DEBUG and file.modified != self._modified(name)):
            file = self._files[name] = self._read(name)
        return file

    def find_requested(self, name: str) -> tuple[StaticFile | None, bool]:
        """Return the file of a requested name, and whether its content is that of the name.

        The digest may be that of another release, which a page names that is still open.
        """
        if file := self.find(name):
            return file, False
        if not (match := HASHED_NAME.fullmatch(name)):
            return None, False
        file = self.find(match[1] + match[3])
        return file, file is not None and file.digest == match[2]

    def _read(self, name: str) -> StaticFile:
        body = Path(self._paths[name]).read_bytes()
        if name.endswith(".css"):
            body = self._name_hashed_files(name, body.decode()).encode()
        return StaticFile(name, body, self._modified(name))

    def _name_hashed_files(self, name: str, css: str) -> str:
        """Return a stylesheet whose relative URLs have the hashed names."""

        def replace(match: re.Match[str]) -> str:
            quote, reference = match.groups()
            file = self.find(posixpath.normpath(posixpath.join(posixpath.dirname(name), reference)))
            if file is None:
                return match[0]
            folder = posixpath.dirname(reference)
            return f"url({quote}{posixpath.join(folder, posixpath.basename(file.hashed_name))}"

        return CSS_URL.sub(replace, css)

    def _modified(self, name: str) -> int:
        return os.stat(self._paths[name]).st_mtime_ns


def _list_paths() -> dict[str, str]:
    """Return the path of each static file by its name. The first app that has a name wins."""
    paths: dict[str, str] = {}
    for finder in get_finders():
        for name, storage in finder.list([]):
            paths.setdefault(name.replace(os.sep, "/"), storage.path(name))
    return paths


@cache
def static_files() -> StaticFileStore:
    return StaticFileStore()


class HashedStorage(StaticFilesStorage):
    """Gives `{% static %}` and the scripts and stylesheets of forms their hashed names."""

    def url(self, name: str | None) -> str:
        file = static_files().find(name or "")
        return super().url(file.hashed_name if file else name)


def static_response(request: HttpRequest) -> HttpResponseBase | None:
    """Return the response with a static file, or None if the path is not that of one.

    304 without a body if the client has the content already.
    """
    if request.path == ICON_PATH:
        name = settings.FAVICON
    elif request.path.startswith(settings.STATIC_URL):
        name = request.path.removeprefix(settings.STATIC_URL)
    else:
        return None
    file, is_immutable = static_files().find_requested(name)
    if file is None:
        return None
    response = HttpResponse(file.body, content_type=file.content_type)
    etag = f'"{file.digest}"'
    if file.compressed:
        patch_vary_headers(response, ["Accept-Encoding"])
        if accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "")):
            response.content = file.compressed
            response["Content-Encoding"] = "gzip"
            etag = f'"{file.digest}-gzip"'
    response["Content-Length"] = str(len(response.content))
    response["Cache-Control"] = FOREVER if is_immutable else REVALIDATE
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response)
