"""
The conditions of a request: the version that the client has (If-Match, If-None-Match), the
Idempotency-Key and dry_run. Only HTTP is read and written here, never a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b

from django.db import models
from django.http import HttpRequest

from taskflow.http.converters import parse_boolean
from taskflow.http.errors import BadRequest, Invalid, PreconditionFailed

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_KEY_LENGTH = 255  # characters
DRY_RUN = "dry_run"
REPEATED = "“{}” can be sent only once. Remove the others."
# RFC 9110. Also weak ones: proxies make an ETag weak when they compress a response.
ETAG_PATTERN = re.compile(r'(?:W/)?("[^"]*")')
OUR_ETAG_PATTERN = re.compile(r'"([a-z]+)-([0-9]{1,19})-([0-9]{1,9})(?:-[0-9a-f]+)?"')
IDEMPOTENCY_KEY_PATTERN = re.compile(r'"([\x20\x21\x23-\x7e]+)"|([\x21\x23-\x7e]+)')


# ---- versions -----------------------------------------------------------------------------------


@dataclass
class Precondition:
    """The version of a row on which the client bases its change."""

    resource_type: str
    row_id: int
    version: int
    is_checked: bool = False  # whether the request has changed that row, or tried to
    event_ids: list[int] = field(default_factory=list)  # of the events of this request

    def is_for(self, resource_type: str, row_id: int) -> bool:
        return (self.resource_type, self.row_id) == (resource_type, row_id)


def etag_of(row: models.Model) -> str:
    """Return the ETag of a row: `"task-12-5"` for version 5 of task 12.

    If related rows are loaded, a digest of their versions follows. The response shows them too: the
    name of the assignee or the status of a blocker may change while the task does not.
    """
    version = f"{row._meta.model_name}-{row.pk}-{row.version}"  # type: ignore[attr-defined]
    parts: dict[str, None] = {}
    _collect_related_versions(row, parts)
    if not parts:
        return f'"{version}"'
    digest = blake2b(" ".join(sorted(parts)).encode(), digest_size=6).hexdigest()
    return f'"{version}-{digest}"'


def etag_of_version(resource_type: str, row_id: int, version: int) -> str:
    """Return an ETag that names the version of a row, for If-Match."""
    return f'"{resource_type}-{row_id}-{version}"'


def etag_of_fingerprint(resource_type: str, row_id: int, version: int, fingerprint: str) -> str:
    """Return the ETag of a row whose response, and fingerprint, the database builds."""
    digest = blake2b(fingerprint.encode(), digest_size=6).hexdigest()
    return f'"{resource_type}-{row_id}-{version}-{digest}"'


def _collect_related_versions(row: models.Model, parts: dict[str, None]) -> None:
    """Add the annotations of a row, and the versions of all rows loaded with it, to `parts`."""
    values = vars(row)
    for name in values.keys() - _declared_names(type(row)):
        parts[f"{name}={values[name]}"] = None
    loaded = [r for r in row._state.fields_cache.values() if r is not None]
    for rows in values.get("_prefetched_objects_cache", {}).values():
        loaded += rows
    for related in loaded:
        version = f"{related._meta.model_name}-{related.pk}-{vars(related).get('version')}"
        if version not in parts:
            parts[version] = None
            _collect_related_versions(related, parts)


@cache
def _declared_names(model: type[models.Model]) -> frozenset[str]:
    """Names that rows have without an annotation: columns, and attributes of the class."""
    return frozenset({*dir(model), "_state", "_prefetched_objects_cache"})


def is_current(request: HttpRequest, etag: str) -> bool:
    """Return whether If-None-Match has this ETag, so that the client has the response already."""
    given = request.META.get("HTTP_IF_NONE_MATCH", "")
    return given.strip() == "*" or etag in ETAG_PATTERN.findall(given)


def read_precondition(request: HttpRequest) -> Precondition | None:
    """Return what If-Match requires; None without the header, and for `*`.

    Raises BadRequest if it has no ETag, PreconditionFailed if no ETag in it is one of TaskFlow's.
    """
    given: str | None = request.META.get("HTTP_IF_MATCH")
    if given is None or given.strip() == "*":
        return None
    tags = ETAG_PATTERN.findall(given)
    if not tags:
        raise BadRequest(
            'If-Match takes an ETag in double quotes, such as "task-12-5".', code="bad_etag"
        )
    parsed_tags = [parsed for tag in tags if (parsed := parse_etag(tag))]
    if not parsed_tags:
        raise PreconditionFailed(
            "If-Match has no ETag of TaskFlow. Send the ETag that came with the row."
        )
    return max(parsed_tags, key=lambda parsed: parsed.version)


def parse_etag(text: str) -> Precondition | None:
    """Return the precondition that an ETag of TaskFlow stands for; None for any other text."""
    match = OUR_ETAG_PATTERN.fullmatch(text)
    return Precondition(match[1], int(match[2]), int(match[3])) if match else None


# ---- Idempotency-Key and dry_run ----------------------------------------------------------------


def read_idempotency_key(request: HttpRequest) -> str | None:
    """Return the Idempotency-Key without its quotes, which are optional; None without a header.

    See draft-ietf-httpapi-idempotency-key-header-07. Raises BadRequest for an unusable key.
    """
    given: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    return None if given is None else parse_idempotency_key(given)


def parse_idempotency_key(given: str) -> str:
    """Return an idempotency key without its quotes. Raises BadRequest for an unusable one."""
    match = IDEMPOTENCY_KEY_PATTERN.fullmatch(given.strip())
    key = (match[1] or match[2]) if match else ""
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise BadRequest(
            f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters, such as a"
            " UUID.",
            code="bad_idempotency_key",
        )
    return key


def read_dry_run(request: HttpRequest) -> bool:
    """Return the parameter dry_run, by default False. Raises Invalid unless it is true or false.

    See body_options.is_dry_run() for the one of the body.
    """
    given = request.GET.getlist(DRY_RUN) if request.META.get("QUERY_STRING") else ()
    if not given:
        return False
    if len(given) > 1:
        raise Invalid.parameter(DRY_RUN, REPEATED.format(DRY_RUN), "repeated")
    return parse_boolean(DRY_RUN, given[0])


def has_body(request: HttpRequest) -> bool:
    """Return whether the request has a body, by its Content-Length. Does not read it."""
    return request.META.get("CONTENT_LENGTH", "") not in ("", "0")
