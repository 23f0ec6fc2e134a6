"""What has happened to a row since a version of it: how edits of different fields merge."""

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
    """What others have made of a field, as JSON."""

    base: Any
    theirs: Any
    event: Event  # the last one


def changes_since(
    row: models.Model, version: int, besides: Collection[int] = ()
) -> dict[str, Since]:
    """The fields that have changed since the version, by name; by others than events `besides`."""
    events = Event.objects.filter(
        subject_type=type(row).__name__.lower(), subject_id=row.pk, version__gt=version
    )
    found: dict[str, Since] = {}
    for event in events.exclude(pk__in=besides).select_related("actor").order_by("id"):
        for name, (before, after) in event.changes.items():
            base = found[name].base if name in found else before
            found[name] = Since(base, after, event)
    return found


def refuse_stale(
    actor: Actor, row: Any, version: int, changes: dict[str, Any], *, is_removal: bool = False
) -> None:
    """Raise PreconditionFailed when one of the changes is of a field that others have changed since
    the version that the actor has seen. The row is locked, and of `version`.

    Who deletes a row sets all its fields.
    """
    seen = actor.precondition
    if seen is None or not seen.is_for(type(row).__name__.lower(), row.pk):
        return
    seen.is_checked = True
    if seen.version == version:
        return
    if seen.version > version:
        raise PreconditionFailed(f"There is no version {seen.version} yet; this is {version}.")
    since = changes_since(row, seen.version, seen.event_ids)
    if not (is_removal or "deleted_at" in changes):
        since = {n: s for n, s in since.items() if n in changes}
    told = {n: s for n, s in since.items() if n not in type(row).derived} or since
    if told:
        raise PreconditionFailed(
            f"Others have changed {', '.join(sorted(told))} since version {seen.version}.",
            code="changed_since",
            errors=[_told(row, n, told[n], changes.get(n)) for n in sorted(told)],
            headers={"ETag": f'"{seen.resource_type}-{row.pk}-{version}"'},
        )


def _told(row: models.Model, name: str, since: Since, change: Any) -> dict[str, Any]:
    """Yours, theirs and what both began with."""
    who = str(since.event.actor) if since.event.actor else "Somebody"
    yours = {} if change is None else {"yours": change[1]}
    return {
        "pointer": f"#/{_name_on_the_wire(row, name)}",
        "code": "changed_since",
        "detail": f"{who} changed it at {since.event.created_at:%Y-%m-%dT%H:%M:%SZ}.",
        **yours,
        "theirs": since.theirs,
        "base": since.base,
    }


def _name_on_the_wire(row: models.Model, name: str) -> str:
    """assignee is assignee_id there."""
    try:
        return str(getattr(row._meta.get_field(name), "attname", name))
    except FieldDoesNotExist:
        return name
