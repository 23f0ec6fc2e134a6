"""
Permissions of undo.

Undoing an event requires the permission to make the inverse change now: on the present row, in its
present project, with the present role of the actor. An event whose row the actor cannot see now is
treated as if it did not exist.
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
from tasks.rules import MANAGERS, WRITERS, require_role, require_unarchived

Rows = Mapping[tuple[str, int], Any]  # by subject type and id, without permanently deleted rows
ACCOUNT_TYPES = frozenset({"tenant", "user", "apitoken"})
PROFILE_FIELDS = frozenset({"full_name", "handle", "email"})


def is_own(actor: Actor, event: Event) -> bool:
    """Whether the actor made the change. Events of operators have no actor, but an operator_id."""
    if actor.is_operator:
        return event.actor_id is None and event.operator_id == actor.user.pk
    return event.actor_id == actor.user.pk


def project_ids_of(event: Event, rows: Rows) -> set[int]:
    """Return the ids of the projects that undoing the event affects.

    They are the present project of the row, or its last one if the row was deleted permanently, and
    both projects of a move.
    """
    row = rows.get(_subject(event))
    field = type(row).project_field if row is not None else None
    present = getattr(row, field) if field else event.project_id
    moved = event.changes.get("project", []) if event.subject_type == "task" else []
    return {pk for pk in (present, *moved) if pk is not None}


def select_visible_events(actor: Actor, events: Sequence[Event], rows: Rows) -> list[Event]:
    """Return the events whose rows and projects the actor can see now. At most three queries."""
    project_ids = {pk for event in events for pk in project_ids_of(event, rows)}
    projects = Project.everything.visible_to(actor.viewer).filter(pk__in=sorted(project_ids))
    visible = {("project", pk) for pk in projects.values_list("pk", flat=True)}
    for name in sorted({e.subject_type for e in events if _has_own_visibility(e)}):
        subject_ids = sorted({e.subject_id for e in events if e.subject_type == name})
        visible_rows = resource_types()[name].rows_visible_within_project(actor.viewer)
        visible_ids = visible_rows.filter(pk__in=subject_ids).values_list("pk", flat=True)
        visible |= {(name, pk) for pk in visible_ids}
    return [event for event in events if _is_visible(actor, event, rows, visible)]


def _is_visible(actor: Actor, event: Event, rows: Rows, visible: set[tuple[str, int]]) -> bool:
    """Whether the actor can see the event. `visible` are the visible projects and rows."""
    subject = _subject(event)
    project_ids = project_ids_of(event, rows)
    if not all(("project", pk) in visible for pk in project_ids):
        return False
    if _has_own_visibility(event) and subject in rows:
        return subject in visible
    if project_ids and not _has_own_visibility(event):
        return True
    # Rows outside projects and permanently deleted drafts are visible to administrators and to the
    # user who made the change; with a token that is limited to projects, only new tags of the user.
    if actor.project_ids is not None and not project_ids:
        return _is_own_new_tag(actor, event)
    return is_own(actor, event) or actor.is_staff


def _has_own_visibility(event: Event) -> bool:
    """Whether seeing the project is not enough to see the row of the event, as for drafts."""
    resource_type = resource_types().get(event.subject_type)
    return resource_type is not None and resource_type.own_visibility is not None


def require_rights(actor: Actor, events: Iterable[Event], rows: Rows) -> None:
    """Raise Forbidden unless the actor may make the inverse change of each event now.

    The actor's own changes require the permission to make them; changes of other users require an
    owner or admin of the project. The caller must refuse events that the actor cannot see.
    """
    required: set[tuple[int, tuple[Role, ...]]] = set()
    closed: set[int] = set()  # projects that must not be archived
    for event in events:
        if event.subject_type not in resource_types():
            continue  # it cannot be undone, so it needs no right
        project_ids = project_ids_of(event, rows)
        if event.subject_type in ACCOUNT_TYPES:
            _require_account_rights(actor, event)
        elif not project_ids and not _is_own_new_tag(actor, event):
            require_staff(actor)
        roles = _roles_for(actor, event, rows.get(_subject(event)))
        required |= {(pk, roles) for pk in project_ids}
        if not _may_change_archived(actor, event):
            closed |= project_ids
    projects = Project.everything.in_bulk(sorted({pk for pk, _roles in required}))
    for pk, roles in sorted(required):
        require_role(actor, projects[pk], *roles)
        if pk in closed:
            require_unarchived(projects[pk])


def _may_change_archived(actor: Actor, event: Event) -> bool:
    """Whether the actor may undo the event in an archived project.

    Administrators may undo that it was archived. Memberships are not contents of the project.
    """
    is_status = event.subject_type == "project" and "status" in event.changes
    return event.subject_type == "projectmember" or (is_status and actor.is_staff)


def _is_own_new_tag(actor: Actor, event: Event) -> bool:
    """Whether the actor created a tag with this event.

    Only administrators may delete tags, but users may undo the creation of their own tags while no
    other task has them.
    """
    return event.subject_type == "tag" and event.verb == "created" and is_own(actor, event)


def _require_account_rights(actor: Actor, event: Event) -> None:
    """Raise Forbidden unless the actor is an administrator, or has changed their own profile or one
    of their own tokens.

    In either case the actor needs a token of scope admin.
    """
    if actor.scope != TokenScope.ADMIN:
        raise Forbidden(
            f"Undoing a change of a {event.subject_type} requires a token of scope admin.",
            code="insufficient_scope",
        )
    is_own_profile = event.subject_id == actor.user.pk and event.changes.keys() <= PROFILE_FIELDS
    if not (is_own(actor, event) and (is_own_profile or event.subject_type == "apitoken")):
        require_staff(actor)


def _roles_for(actor: Actor, event: Event, row: Any) -> tuple[Role, ...]:
    """Return the roles that may undo the event in its projects.

    `row` is the present row, or None if it was deleted permanently.
    """
    subject_type, changes = event.subject_type, event.changes
    if subject_type == "project" and {"owner", "deleted_at"} & changes.keys():
        return (Role.OWNER,)
    if subject_type == "projectmember":
        roles = [*changes.get("role", ()), row and row.role]
        return (Role.OWNER,) if Role.OWNER in roles else MANAGERS
    if subject_type == "project" or not is_own(actor, event):
        return MANAGERS
    # Only the author and managers may change the row, even if the actor has made this change.
    author = resource_types()[subject_type].author
    if row is not None and author and getattr(row, f"{author}_id") != actor.user.pk:
        return MANAGERS
    return WRITERS


def _subject(event: Event) -> tuple[str, int]:
    return event.subject_type, event.subject_id
