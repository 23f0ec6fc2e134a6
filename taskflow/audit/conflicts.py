"""Optimistic locking: edits of different fields merge, edits of the same field are refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from taskflow.audit.models import Event
from taskflow.http.errors import PreconditionFailed

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor


@dataclass
class Since:
    """What others have changed in a field since a version, as JSON."""

    base: Any
    theirs: Any
    event: Event  # the last one


def find_changes_since(
    row: models.Model, version: int, besides: Collection[int] = ()
) -> dict[str, Since]:
    """Return what has changed since the version, by field name. Events whose ids are in `besides`
    do not count. One query.
    """
    events = Event.objects.filter(
        subject_type=type(row).__name__.lower(), subject_id=row.pk, version__gt=version
    )
    fields: dict[str, Since] = {}
    for event in events.exclude(pk__in=besides).select_related("actor").order_by("id"):
        for name, (before, after) in event.changes.items():
            base = fields[name].base if name in fields else before
            fields[name] = Since(base, after, event)
    return fields


def check_precondition(
    actor: Actor, row: Any, version: int, changes: dict[str, Any], *, is_removal: bool = False
) -> None:
    """Check the actor's precondition (If-Match) against changes that are about to be made.

    The row must be locked, and `version` is the stored one. Deleting counts as a change of every
    field. Raises PreconditionFailed when others have changed one of the fields since the version
    that the precondition names; its errors hold both values.
    """
    expected = actor.precondition
    if expected is None or not expected.is_for(type(row).__name__.lower(), row.pk):
        return
    expected.is_checked = True
    if expected.version == version:
        return
    if expected.version > version:
        raise PreconditionFailed(f"There is no version {expected.version} yet; this is {version}.")
    since = find_changes_since(row, expected.version, expected.event_ids)
    if not (is_removal or "deleted_at" in changes):
        since = {name: change for name, change in since.items() if name in changes}
    if since:
        etag = f'"{expected.resource_type}-{row.pk}-{version}"'
        raise _changed_since(row, expected.version, since, changes, etag)


def _changed_since(
    row: Any,
    version: int,
    since: dict[str, Since],
    changes: dict[str, Any],
    etag: str,
) -> PreconditionFailed:
    """Name the fields in conflict; derived ones only if there are no others."""
    named = {name: s for name, s in since.items() if name not in type(row).derived} or since
    return PreconditionFailed(
        f"Others have changed {', '.join(sorted(named))} since version {version}.",
        code="changed_since",
        errors=[_describe(row, name, named[name], changes.get(name)) for name in sorted(named)],
        headers={"ETag": etag},
    )


def _describe(row: models.Model, name: str, since: Since, change: Any) -> dict[str, Any]:
    """Both values of a field, and the one that both edits started from."""
    author = str(since.event.actor) if since.event.actor else "The system"
    yours = {} if change is None else {"yours": change[1]}
    return {
        "pointer": f"#/{_api_name(row, name)}",
        "code": "changed_since",
        "detail": f"{author} changed it at {since.event.created_at:%Y-%m-%dT%H:%M:%SZ}.",
        **yours,
        "theirs": since.theirs,
        "base": since.base,
    }


def _api_name(row: models.Model, name: str) -> str:
    """The name of the field in the API: assignee is assignee_id."""
    try:
        return str(getattr(row._meta.get_field(name), "attname", name))
    except FieldDoesNotExist:
        return name
