"""The JSON responses of the API, and responses with one row whose JSON the database builds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from django.db import models
from django.http import HttpResponse

from taskflow.db.expressions import AsText
from taskflow.db.json import JSON_CONTENT_TYPE, JsonBuilder
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.db.viewer import Viewer
from taskflow.http.errors import NotFound
from taskflow.http.fields import MAX_PARTIAL_VARIANTS
from taskflow.http.preconditions import SAFE, etag_of_fingerprint, etag_of_version, is_current
from taskflow.http.preferences import MINIMAL_MEDIA_TYPE, mark_applied
from taskflow.http.request import Request

Lookup = Mapping[str, object]  # field names with the values that identify a row


class Detail(NamedTuple):
    """One row as a response: its id, version and JSON.

    `fingerprint` is a text that changes whenever the JSON changes, apart from the version.
    """

    resource_type: str
    id: int
    version: int
    fingerprint: str
    text: str

    @property
    def etag(self) -> str:
        return etag_of_fingerprint(self.resource_type, self.id, self.version, self.fingerprint)

    def with_field(self, name: str, value: str) -> Detail:
        """Return the row with another field at the end of its JSON. The value is JSON."""
        text = f'{self.text[:-1]},"{name}":{value}}}'
        return Detail(self.resource_type, self.id, self.version, self.fingerprint + value, text)


class DetailQuery:
    """Reads a row of `rows(viewer)`: the JSON that `build(viewer)` describes, or only the ETag.

    A lookup identifies the row: field names with their values, such as `pk`.
    """

    def __init__(
        self,
        resource_type: str,
        rows: Callable[[Viewer], models.QuerySet[models.Model]],
        build: Callable[[Viewer], JsonBuilder],
    ) -> None:
        self.resource_type, self.rows, self.build = resource_type, rows, build
        self.etags = QueryCache(self._select_fingerprint)
        self.details = QueryCache(self._select_json)
        self.many = QueryCache(self._select_json_by_id)
        # Apart from the others, so that many different fields do not displace them.
        self.partial_details = QueryCache(self._select_fields, max_variants=MAX_PARTIAL_VARIANTS)

    def fetch(self, viewer: Viewer, lookup: Lookup, *, is_last: bool = True) -> Detail | None:
        """Return the row, or None. If this query is the last, COMMIT may be sent with it."""
        names, values = tuple(lookup), tuple(lookup.values())
        rows = self.details.fetch((names,), viewer, values, commit_with=is_last)
        return Detail(self.resource_type, *rows[0]) if rows else None

    def fetch_fields(
        self, viewer: Viewer, lookup: Lookup, fields: tuple[str, ...], *, is_last: bool = True
    ) -> Detail | None:
        """Return the row with these fields alone, or None. See fetch()."""
        variant = (tuple(lookup), fields)
        values = tuple(lookup.values())
        rows = self.partial_details.fetch(variant, viewer, values, commit_with=is_last)
        if not rows:
            return None
        pk, version, text = rows[0]
        return Detail(self.resource_type, pk, version, text, text)

    def fetch_etag(self, viewer: Viewer, lookup: Lookup) -> str | None:
        """Return the ETag of the row, or None without a row. Cheaper than fetch()."""
        rows = self.etags.fetch((tuple(lookup),), viewer, tuple(lookup.values()))
        return etag_of_fingerprint(self.resource_type, *rows[0]) if rows else None

    def fetch_texts(self, viewer: Viewer, ids: Iterable[int]) -> dict[int, str]:
        """Return the JSON of the rows with these ids, by id. Unknown ids are left out."""
        return dict(self.many.fetch((), viewer, IdArray(tuple(ids))))

    def _select_fingerprint(
        self, names: tuple[str, ...], viewer: Viewer, values: Sequence[object]
    ) -> models.QuerySet[models.Model, Row]:
        rows = self.rows(viewer).filter(**dict(zip(names, values, strict=True)))
        rows = rows.annotate(_fingerprint=self.build(viewer).fingerprint())
        selected: models.QuerySet[models.Model, Row] = rows.values_list(
            "pk", "version", "_fingerprint"
        )
        return selected

    def _select_json(
        self, names: tuple[str, ...], viewer: Viewer, values: Sequence[object]
    ) -> models.QuerySet[models.Model, Row]:
        row_json = AsText(self.build(viewer).json())
        rows = self._select_fingerprint(names, viewer, values).annotate(_json=row_json)
        selected: models.QuerySet[models.Model, Row] = rows.values_list(
            "pk", "version", "_fingerprint", "_json"
        )
        return selected

    def _select_fields(
        self,
        names: tuple[str, ...],
        fields: tuple[str, ...],
        viewer: Viewer,
        values: Sequence[object],
    ) -> models.QuerySet[models.Model, Row]:
        rows = self.rows(viewer).filter(**dict(zip(names, values, strict=True)))
        row_json = AsText(self.build(viewer).only(fields).json())
        selected: models.QuerySet[models.Model, Row] = rows.annotate(_json=row_json).values_list(
            "pk", "version", "_json"
        )
        return selected

    def _select_json_by_id(
        self, viewer: Viewer, ids: IdArray
    ) -> models.QuerySet[models.Model, Row]:
        rows = self.rows(viewer).filter(IsInIds("pk", ids))
        rows = rows.annotate(_json=AsText(self.build(viewer).json()))
        selected: models.QuerySet[models.Model, Row] = rows.values_list("pk", "_json")
        return selected


def respond_with_detail(
    request: Request,
    query: DetailQuery,
    viewer: Viewer,
    lookup: Lookup,
    *,
    status: int = 200,
) -> HttpResponse:
    """Respond with the row and its ETag, or with 304 if the client has this version already.

    With status 201 the response has a Location. Raises NotFound if there is no such row.
    """
    if request.method in SAFE and "HTTP_IF_NONE_MATCH" in request.META:
        etag = query.fetch_etag(viewer, lookup)
        if etag is not None and is_current(request, etag):
            return not_modified(etag)
    detail = require_detail(query, query.fetch(viewer, lookup))
    response = respond(request, detail.text, status=status, etag=detail.etag)
    if status == 201:
        _set_header(response, "Location", _location_of(request, query.resource_type, detail.id))
    return response


def respond_minimally(
    request: Request, resource_type: str, row: models.Model, *, status: int
) -> HttpResponse:
    """Respond to a write for a client that prefers `return=minimal`. No query.

    With status 201, the response has the id, the key and the version of the new row; otherwise it
    is 204 without a body. The ETag has the version for If-Match. It has no digest of related rows,
    so that a read with it in If-None-Match answers the row.
    """
    version = getattr(row, "version", 0)
    if status == 201:
        body = {"id": row.pk, "key": getattr(row, "key", None), "version": version}
        response = respond(request, json.dumps(body), status=201, media_type=MINIMAL_MEDIA_TYPE)
        response["Location"] = _location_of(request, resource_type, row.pk)
    else:
        response = HttpResponse(status=204)
    response["ETag"] = etag_of_version(resource_type, row.pk, version)
    return mark_applied(response, "minimal")


def require_detail(query: DetailQuery, detail: Detail | None) -> Detail:
    """Return the row that the query has fetched. Raises NotFound if there is none."""
    if detail is None:
        raise NotFound(f"There is no such {query.resource_type}.")
    return detail


def respond(
    request: Request,
    text: str,
    *,
    status: int = 200,
    etag: str | None = None,
    media_type: str | None = None,
) -> HttpResponse:
    """Respond with a JSON text and its ETag. Without `etag`, a read gets one made of its body.

    `media_type` is application/json unless it is given.
    """
    response = prepare_response(request)
    response.content, response.status_code = text.encode(), status
    if media_type is not None:
        response["Content-Type"] = f"{media_type}; charset=utf-8"
    if request.method in SAFE:
        return add_read_etag(request, response, etag)
    if etag is not None:
        _set_header(response, "ETag", etag)
    return response


def add_read_etag(
    request: Request, response: HttpResponse, etag: str | None = None
) -> HttpResponse:
    """Add the ETag to the response of a read, or return 304 if the client has it already.

    Without `etag` it is made of the body, which saves the transfer of a list, but not its query.
    """
    if etag is None:
        etag = f'"{blake2b(response.content, digest_size=12).hexdigest()}"'
    if "HTTP_IF_NONE_MATCH" in request.META and is_current(request, etag):
        return not_modified(etag)
    _set_header(response, "ETag", etag)
    return response


def not_modified(etag: str) -> HttpResponse:
    """Respond with 304: the client has the response with this ETag."""
    return HttpResponse(status=304, headers={"ETag": etag})


def prepare_response(request: Request) -> HttpResponse:
    """Return the response object of this request, to be filled by the caller.

    Ninja creates it before it calls the API function. Another object would cost 40 function calls.
    """
    if request.prepared_response is None:
        request.prepared_response = HttpResponse(content_type=JSON_CONTENT_TYPE)
    return request.prepared_response


def _set_header(response: HttpResponse, name: str, value: str) -> None:
    """Set a header to a text of ours, which is ASCII without line breaks, with a fourth of the
    calls of `response[name] = value`.
    """
    response.headers._store[name.lower()] = name, value


def _location_of(request: Request, resource_type: str, pk: int) -> str:
    """Return where a row can be read, in the version of the API that the request uses."""
    _, api, version, _ = request.path.split("/", 3)
    return f"/{api}/{version}/{resource_type}s/{pk}"
