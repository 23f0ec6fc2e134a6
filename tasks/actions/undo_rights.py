"""
Permissions of undo.

An undo makes the inverse change, and needs the same permission as that change made now: on the
present row, in the project that it is in now, by the present role of the actor. An event whose row
the actor cannot see now is treated as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from accounts.rules import require_staff
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types
from taskflow.http.errors import Forbidden
from tasks.models import Project, Role
from tasks.rules import MANAGERS, WRITERS, require_role

Rows = Mapping[tuple[str, int], Any]  # stored rows by subject type and id; deleted ones are missing
ACCOUNT_TYPES = frozenset({"tenant", "user", "apitoken"})
OWN_PROFILE = frozenset({"full_name", "handle", "email"})


def is_own(actor: Actor, event: Event) -> bool:
    """Whether the actor made the change. Operators have no user in the tenant."""
    if actor.is_operator:
        return event.actor_id is None and event.operator_id == actor.user.pk
    return event.actor_id == actor.user.pk


def project_ids_of(event: Event, rows: Rows) -> set[int]:
    """Return the ids of the projects that undoing the event affects: the present project of the
    row, its last one if the row is deleted, and both projects of a move.
    """
    row = rows.get(_subject(event))
    field = type(row).project_field if row is not None else None
    present = getattr(row, field) if field else event.project_id
    moved = event.changes.get("project", []) if event.subject_type == "task" else []
    return {pk for pk in (present, *moved) if pk is not None}


def visible_events(actor: Actor, events: Sequence[Event], rows: Rows) -> list[Event]:
    """Return the events whose rows and projects the actor can see now. At most three queries."""
    project_ids = {pk for event in events for pk in project_ids_of(event, rows)}
    projects = Project.everything.visible_to(actor.viewer).filter(pk__in=sorted(project_ids))
    visible = {("project", pk) for pk in projects.values_list("pk", flat=True)}
    for name in sorted({e.subject_type for e in events if _has_own_visibility(e)}):
        subject_ids = sorted({e.subject_id for e in events if e.subject_type == name})
        shown = (
            resource_types()[name]
            .model._base_manager.visible_to(actor.viewer)
            .filter(pk__in=subject_ids)
        )
        visible |= {(name, pk) for pk in shown.values_list("pk", flat=True)}
    return [event for event in events if _is_visible(actor, event, rows, visible)]


def _is_visible(actor: Actor, event: Event, rows: Rows, visible: set[tuple[str, int]]) -> bool:
    subject = _subject(event)
    is_mine = is_own(actor, event)
    project_ids = project_ids_of(event, rows)
    if not all(("project", pk) in visible for pk in project_ids):
        return False
    if _has_own_visibility(event) and subject in rows:
        return subject in visible
    if project_ids and not _has_own_visibility(event):
        return True
    # Rows outside projects and deleted drafts are visible to administrators and to the user who
    # made the change. With a token bound to projects only created tags of its user are.
    if actor.project_ids is not None and not project_ids:
        return _is_own_new_tag(actor, event)
    return is_mine or actor.is_staff


def _has_own_visibility(event: Event) -> bool:
    resource_type = resource_types().get(event.subject_type)
    return resource_type is not None and resource_type.has_own_visibility


def require_rights(actor: Actor, events: Iterable[Event], rows: Rows) -> None:
    """Raise Forbidden unless the actor may make the inverse change of each event now.

    Own changes need the permission to make them; changes of other users need the owner or an admin
    of the project. The caller has to refuse events that the actor cannot see.
    """
    required: set[tuple[int, tuple[Role, ...]]] = set()
    for event in events:
        project_ids = project_ids_of(event, rows)
        if event.subject_type in ACCOUNT_TYPES:
            _require_account_rights(actor, event)
        elif not project_ids and not _is_own_new_tag(actor, event):
            require_staff(actor)
        roles = _roles_for(actor, event, rows.get(_subject(event)))
        required |= {(pk, roles) for pk in project_ids}
    projects = Project.everything.in_bulk(sorted({pk for pk, _roles in required}))
    for pk, roles in sorted(required):
        require_role(actor, projects[pk], *roles)


def _is_own_new_tag(actor: Actor, event: Event) -> bool:
    """Whether the event is the creation of a tag by the actor. Only administrators delete tags, but
    users may undo the creation of theirs while no other task has it.
    """
    return event.subject_type == "tag" and event.verb == "created" and is_own(actor, event)


def _require_account_rights(actor: Actor, event: Event) -> None:
    """Raise Forbidden unless the actor administers users, or the change is of the own profile or an
    own token.
    """
    if actor.scope != TokenScope.ADMIN:
        raise Forbidden(
            f"Undoing a change of a {event.subject_type} needs a token of scope admin.",
            code="insufficient_scope",
        )
    is_mine = event.subject_id == actor.user.pk and event.changes.keys() <= OWN_PROFILE
    if not (is_own(actor, event) and (is_mine or event.subject_type == "apitoken")):
        require_staff(actor)


def _roles_for(actor: Actor, event: Event, row: Any) -> tuple[Role, ...]:
    """Return the roles that may undo the event in its projects. `row` is None if it is deleted."""
    kind, changes = event.subject_type, event.changes
    if kind == "project" and {"owner", "deleted_at"} & changes.keys():
        return (Role.OWNER,)
    if kind == "projectmember":
        held = [*changes.get("role", ()), row and row.role]
        return (Role.OWNER,) if Role.OWNER in held else MANAGERS
    if kind == "project" or not is_own(actor, event):
        return MANAGERS
    # The author decides about the row, whoever has changed it.
    author = resource_types()[kind].author
    if row is not None and author and getattr(row, f"{author}_id") != actor.user.pk:
        return MANAGERS
    return WRITERS


def _subject(event: Event) -> tuple[str, int]:
    return event.subject_type, event.subject_id
