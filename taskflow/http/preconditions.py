"""
What a request may say about itself: which version it has seen (If-Match, If-None-Match), which
attempt it is (Idempotency-Key), and whether it is meant (dry_run). Reading and writing of HTTP; no
row is touched here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b

from django.db import models
from django.http import HttpRequest

from taskflow.http.errors import BadRequest, Invalid, PreconditionFailed

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST_KEY = 255  # characters
DRY_RUN = "dry_run"
# RFC 9110; weak ones too, which is what proxies make of ours when they compress an answer.
ETAG = re.compile(r'(?:W/)?("[^"]*")')
OURS = re.compile(r'"([a-z]+)-([0-9]{1,19})-([0-9]{1,9})(?:-[0-9a-f]+)?"')
KEY = re.compile(r'"([\x20\x21\x23-\x7e]+)"|([\x21\x23-\x7e]+)')


# ---- versions -----------------------------------------------------------------------------------


@dataclass
class Precondition:
    """The version of a row that a writer has seen."""

    noun: str
    row_id: int
    version: int
    is_checked: bool = False  # the request has changed, or tried to change, that row
    recorded: list[int] = field(default_factory=list)  # ids of the request's own events

    def names(self, noun: str, row_id: int) -> bool:
        return (self.noun, self.row_id) == (noun, row_id)


def etag_of(row: models.Model) -> str:
    """`"task-12-5"` for version 5 of task 12.

    Behind it stands a digest of what was loaded with the row, as its document shows that too: the
    assignee's name or a blocker's status may change while the task does not.
    """
    known = f"{row._meta.model_name}-{row.pk}-{row.version}"  # type: ignore[attr-defined]
    beside: dict[str, None] = {}
    _look_beside(row, beside)
    if not beside:
        return f'"{known}"'
    digest = blake2b(" ".join(sorted(beside)).encode(), digest_size=6).hexdigest()
    return f'"{known}-{digest}"'


def etag_of_fingerprint(noun: str, row_id: int, version: int, fingerprint: str) -> str:
    """The same for a row whose document the database builds."""
    return f'"{noun}-{row_id}-{version}-{blake2b(fingerprint.encode(), digest_size=6).hexdigest()}"'


def _look_beside(row: models.Model, beside: dict[str, None]) -> None:
    """Note annotations, and the versions of rows that are loaded with it."""
    values = vars(row)
    for name in values.keys() - _own_names(type(row)):
        beside[f"{name}={values[name]}"] = None
    loaded = [r for r in row._state.fields_cache.values() if r is not None]
    for rows in values.get("_prefetched_objects_cache", {}).values():
        loaded += rows
    for related in loaded:
        said = f"{related._meta.model_name}-{related.pk}-{vars(related).get('version')}"
        if said not in beside:
            beside[said] = None
            _look_beside(related, beside)


@cache
def _own_names(model: type[models.Model]) -> frozenset[str]:
    columns = {f.attname for f in model._meta.concrete_fields}
    return frozenset(columns | {"_state", "_prefetched_objects_cache"})


def is_known(request: HttpRequest, etag: str) -> bool:
    """Whether the caller has this document already (If-None-Match)."""
    given = request.META.get("HTTP_IF_NONE_MATCH", "")
    return given.strip() == "*" or etag in ETAG.findall(given)


def read_precondition(request: HttpRequest) -> Precondition | None:
    """What If-Match demands; None when that is nothing, or only that the row exists.

    Raises BadRequest for what is no ETag, PreconditionFailed for one that is not ours.
    """
    given: str | None = request.META.get("HTTP_IF_MATCH")
    if given is None or given.strip() == "*":
        return None
    tags = ETAG.findall(given)
    if not tags:
        raise BadRequest('If-Match takes an ETag in quotes, as in "task-12-5".', code="bad_etag")
    known = [seen for tag in tags if (seen := parse_etag(tag))]
    if not known:
        raise PreconditionFailed("If-Match is no ETag of ours. Send the one the row came with.")
    return max(known, key=lambda seen: seen.version)


def parse_etag(text: str) -> Precondition | None:
    """The version that one of our ETags names."""
    match = OURS.fullmatch(text)
    return Precondition(match[1], int(match[2]), int(match[3])) if match else None


# ---- attempts -----------------------------------------------------------------------------------


def read_idempotency_key(request: HttpRequest) -> str | None:
    """The key, with or without its quotes (draft-ietf-httpapi-idempotency-key-header-07)."""
    given: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return None
    match = KEY.fullmatch(given.strip())
    key = (match[1] or match[2]) if match else ""
    if not 1 <= len(key) <= LONGEST_KEY:
        raise BadRequest(
            f"An Idempotency-Key has 1 to {LONGEST_KEY} printable characters, as a UUID has.",
            code="bad_idempotency_key",
        )
    return key


def read_dry_run(request: HttpRequest) -> bool:
    """Whether the request is only tried. Raises Invalid for what is neither true nor false."""
    given = request.GET.getlist(DRY_RUN)
    if not given:
        return False
    if len(given) > 1 or given[0] not in ("true", "false"):
        raise Invalid.parameter(DRY_RUN, "dry_run is true or false.")
    return given[0] == "true"


def has_body(request: HttpRequest) -> bool:
    """Whether a body comes with the request. Reads none of it.

    Chunked bodies, which have no Content-Length, are refused elsewhere.
    """
    return request.META.get("CONTENT_LENGTH", "") not in ("", "0")
