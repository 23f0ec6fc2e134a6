"""Optimistic locking: edits of different fields merge, edits of the same field are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils.translation import gettext

from taskflow.audit.merge_patch import JsonPath, MergePatch, escape_pointer, get_at
from taskflow.audit.models import Event
from taskflow.audit.retention import has_event_of_version
from taskflow.audit.visibility import find_hidden_then
from taskflow.http.errors import PreconditionFailed
from taskflow.tenancy import Changes, TenantModel

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor


NO_PATCHES: Mapping[str, MergePatch] = {}


@dataclass
class EditByOthers:
    """How others have changed a field since a version: the old and the new value as JSON."""

    base: object
    theirs: object
    event: Event  # the last event that has changed the field
    first_event: Event  # the first one since the version, which contains the base


def find_changes_since(
    row: models.Model, version: int, excluded_ids: Collection[int] = ()
) -> dict[str, EditByOthers]:
    """Return the edits since the version, by field name. One query.

    Events whose ids are in `excluded_ids` are ignored.
    """
    events = Event.objects.filter(
        subject_type=type(row).__name__.lower(), subject_id=row.pk, version__gt=version
    )
    fields: dict[str, EditByOthers] = {}
    for event in events.exclude(pk__in=excluded_ids).select_related("actor").order_by("id"):
        for name, (before, after) in event.changes.items():
            former = fields.get(name, EditByOthers(before, after, event, event))
            fields[name] = replace(former, theirs=after, event=event)
    return fields


def check_precondition(
    actor: Actor,
    row: TenantModel,
    version: int,
    changes: Changes,
    *,
    is_removal: bool = False,
    patches: Mapping[str, MergePatch] = NO_PATCHES,
) -> None:
    """Check the actor's precondition (If-Match) against changes that are about to be made.

    The row must be locked, and `version` is the stored one. Deleting counts as a change of every
    field. Raises PreconditionFailed when others have changed one of the fields since the version
    that the precondition names. Its errors contain both values. Of a field in `patches`, only the
    keys that its patch changes count.
    """
    expected = actor.precondition
    if expected is None or not expected.is_for(type(row).__name__.lower(), row.pk):
        return
    expected.is_checked = True
    if expected.version == version:
        return
    if expected.version > version:
        raise PreconditionFailed(
            f"Version {expected.version} does not exist yet. The current version is {version}."
        )
    tenant = actor.tenant
    if tenant.events_missing_until and not has_event_of_version(row, expected.version + 1):
        raise PreconditionFailed(
            f"The log does not hold any more what was changed since version {expected.version}."
            f" Read the current version, {version}, and send its ETag.",
            code="changed_since",
            headers={"ETag": f'"{expected.resource_type}-{row.pk}-{version}"'},
        )
    edits = find_changes_since(row, expected.version, expected.event_ids)
    if not (is_removal or "deleted_at" in changes):
        edits = {name: change for name, change in edits.items() if name in changes}
    edits = {n: e for n, e in edits.items() if n not in patches or _conflicts(patches[n], e)}
    if edits:
        etag = f'"{expected.resource_type}-{row.pk}-{version}"'
        hidden = find_hidden_then(
            actor.viewer, [e for edit in edits.values() for e in (edit.first_event, edit.event)]
        )
        raise _build_conflict(row, expected.version, edits, changes, patches, etag, hidden)


def _conflicts(patch: MergePatch, edit: EditByOthers) -> bool:
    return bool(patch.find_conflicts(edit.base, edit.theirs))


def _build_conflict(
    row: TenantModel,
    version: int,
    edits: dict[str, EditByOthers],
    changes: Changes,
    patches: Mapping[str, MergePatch],
    etag: str,
    hidden: Collection[int],
) -> PreconditionFailed:
    """Return the problem. It names derived fields only if no other field is in conflict.

    `hidden` are the ids of the events that the actor cannot see: the row may have been in another
    project, or a draft, at the version that the actor has sent.
    """
    named = {name: edit for name, edit in edits.items() if name not in type(row).derived} or edits
    return PreconditionFailed(
        f"Others have changed {', '.join(sorted(named))} since version {version}.",
        code="changed_since",
        errors=[
            error
            for name in sorted(named)
            for error in _describe_conflicts(
                row, name, named[name], changes, patches.get(name), hidden
            )
        ],
        headers={"ETag": etag},
    )


def _describe_conflicts(
    row: models.Model,
    name: str,
    edit: EditByOthers,
    changes: Changes,
    patch: MergePatch | None,
    hidden: Collection[int],
) -> list[dict[str, object]]:
    """Return the errors of one field: both values, and the value on which both edits are based,
    unless that one is in a hidden event.

    A merge patch has an error for each of its keys that others have changed.
    """
    is_base_hidden = edit.first_event.pk in hidden
    paths: list[JsonPath] = patch.find_conflicts(edit.base, edit.theirs) if patch else [()]
    yours = {"yours": changes[name][1]} if name in changes else {}
    return [
        {
            "pointer": "#/" + "/".join([_name_in_api(row, name), *map(escape_pointer, path)]),
            "code": "changed_since",
            "detail": _describe_event(edit.event, is_hidden=edit.event.pk in hidden),
            **{n: get_at(value, path) for n, value in yours.items()},
            "theirs": get_at(edit.theirs, path),
            **({} if is_base_hidden else {"base": get_at(edit.base, path)}),
        }
        for path in paths
    ]


def _describe_event(event: Event, *, is_hidden: bool) -> str:
    if is_hidden:
        return gettext("Another user changed it.")
    author = str(event.actor) if event.actor else gettext("The system")
    time = f"{event.created_at:%Y-%m-%dT%H:%M:%SZ}"
    return gettext("%(author)s changed it at %(time)s.") % {"author": author, "time": time}


def _name_in_api(row: models.Model, name: str) -> str:
    """Return the name of a field in the API: assignee_id for assignee."""
    try:
        return str(getattr(row._meta.get_field(name), "attname", name))
    except FieldDoesNotExist:
        return name
