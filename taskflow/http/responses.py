"""Responses that the database has built, of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from django.db import models
from django.http import HttpResponse

from taskflow.db.expressions import AsText
from taskflow.db.json import JSON_CONTENT_TYPE, JsonBuilder
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.viewer import Viewer
from taskflow.http.errors import NotFound
from taskflow.http.preconditions import SAFE, etag_of_fingerprint, is_current
from taskflow.http.request import Request


class Detail(NamedTuple):
    """One row as a response."""

    id: int
    etag: str
    text: str


class DetailQuery:
    """How one row of `rows(viewer)` is read: as `document(viewer)`, or its ETag alone.

    A lookup names one row: model fields with their values, such as its `pk`.
    """

    def __init__(
        self,
        resource_type: str,
        rows: Callable[[Viewer], models.QuerySet[Any]],
        document: Callable[[Viewer], JsonBuilder],
    ) -> None:
        self.resource_type, self.rows, self.document = resource_type, rows, document
        self.etags = QueryCache(self._with_fingerprint)
        self.details = QueryCache(self._with_document)
        self.many = QueryCache(self._with_documents)

    def fetch(self, viewer: Viewer, lookup: Mapping[str, Any]) -> Detail | None:
        """Return the row, or None. The COMMIT may go along with this query."""
        names, values = tuple(lookup), tuple(lookup.values())
        rows = self.details.fetch((names,), viewer, values, commit_with=True)
        if not rows:
            return None
        pk, version, fingerprint, text = rows[0]
        return Detail(pk, etag_of_fingerprint(self.resource_type, pk, version, fingerprint), text)

    def fetch_etag(self, viewer: Viewer, lookup: Mapping[str, Any]) -> str | None:
        """Return the ETag of the row, or None without a row. Cheaper than fetch()."""
        rows = self.etags.fetch((tuple(lookup),), viewer, tuple(lookup.values()))
        return etag_of_fingerprint(self.resource_type, *rows[0]) if rows else None

    def fetch_texts(self, viewer: Viewer, ids: Iterable[int]) -> dict[int, str]:
        """Return the JSON of the rows with these ids, by id, without those that do not exist."""
        return dict(self.many.fetch((), viewer, IdArray(tuple(ids))))

    def _with_fingerprint(self, names: tuple[str, ...], viewer: Viewer, values: Any) -> Any:
        rows = self.rows(viewer).filter(**dict(zip(names, values, strict=True)))
        rows = rows.annotate(_fingerprint=self.document(viewer).fingerprint())
        return rows.values_list("pk", "version", "_fingerprint")

    def _with_document(self, names: tuple[str, ...], viewer: Viewer, values: Any) -> Any:
        document = AsText(self.document(viewer).json())
        rows = self._with_fingerprint(names, viewer, values).annotate(_document=document)
        return rows.values_list("pk", "version", "_fingerprint", "_document")

    def _with_documents(self, viewer: Viewer, ids: Any) -> Any:
        rows = self.rows(viewer).filter(IsInIds("pk", ids))
        rows = rows.annotate(_document=AsText(self.document(viewer).json()))
        return rows.values_list("pk", "_document")


def respond_with_detail(
    request: Request,
    query: DetailQuery,
    viewer: Viewer,
    lookup: Mapping[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """Respond with the row and its ETag, or with 304 where the caller has this version already.

    With status 201 the response has a Location. Raises NotFound when there is no such row.
    """
    if request.method in SAFE and "HTTP_IF_NONE_MATCH" in request.META:
        etag = query.fetch_etag(viewer, lookup)
        if etag is not None and is_current(request, etag):
            return HttpResponse(status=304, headers={"ETag": etag})
    detail = query.fetch(viewer, lookup)
    if detail is None:
        raise NotFound(f"There is no such {query.resource_type}.")
    response = respond(request, detail.text, status=status)
    response["ETag"] = detail.etag
    if status == 201:
        response["Location"] = f"{_root_of(request)}{query.resource_type}s/{detail.id}"
    return response


def respond(request: Request, text: str, *, status: int = 200) -> HttpResponse:
    """Respond with JSON that is text already."""
    response = prepare_response(request)
    response.content, response.status_code = text, status
    return response


def prepare_response(request: Request) -> HttpResponse:
    """Return the response that is to be filled. Ninja creates it before it calls the API function;
    a second object would cost 40 function calls more.
    """
    if request.prepared_response is None:
        request.prepared_response = HttpResponse(content_type=JSON_CONTENT_TYPE)
    return request.prepared_response


def _root_of(request: Request) -> str:
    """The address of the API and its version: /api/v1/."""
    _, api, version, _ = request.path.split("/", 3)
    return f"/{api}/{version}/"
