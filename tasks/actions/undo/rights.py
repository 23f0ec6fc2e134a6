"""
Permissions of undo.

Undoing an event requires the permission to make the inverse change now: on the present row, in its
present project, with the present role of the actor. An event whose row the actor cannot see now is
treated as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext_noop

from accounts.actions.confirmation import is_credential_change
from accounts.rules import require_staff
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types
from taskflow.audit.values import is_creation
from taskflow.audit.visibility import find_hidden_then
from taskflow.http.errors import Forbidden
from tasks.models import Project, ProjectMember, Role, View
from tasks.rules import (
    MANAGERS,
    WRITERS,
    require_role,
    require_unarchived,
    require_view_owner,
)

Rows = Mapping[tuple[str, int], Any]  # by subject type and id, without permanently deleted rows
CONTENTS = "contents"  # of a project
# A session or a token alone could otherwise set an e-mail to which a new password is sent.
NEEDS_PASSWORD = Forbidden(
    gettext_noop(
        "The e-mail of a person is not restored by an undo. Change it with your current_password,"
        " and undo the other changes by their event_ids."
    )
)
ACCOUNT_TYPES = frozenset({"tenant", "user", "apitoken", "invitation"})
# Without the e-mail address, with which a user signs in: changing it is more than an undo.
PROFILE_FIELDS = frozenset({"full_name", "handle"})


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
    """Return the events whose rows and projects the actor can see now, and could see at the event
    with the memberships of now. At most six queries.

    Users know the changes that they have made themselves, so that these need to be visible now
    only, unless the token is limited to projects.
    """
    project_ids = {pk for event in events for pk in project_ids_of(event, rows)}
    visible = _find_visible_projects(actor, project_ids)
    for name in sorted({e.subject_type for e in events if _has_own_visibility(e)}):
        subject_ids = sorted({e.subject_id for e in events if e.subject_type == name})
        visible_rows = resource_types()[name].rows_visible_within_project(actor.viewer)
        visible_ids = visible_rows.filter(pk__in=subject_ids).values_list("pk", flat=True)
        visible |= {(name, pk) for pk in visible_ids}
    is_limited = actor.project_ids is not None
    shown = [event for event in events if _is_visible(actor, event, rows, visible)]
    to_check = [event for event in shown if is_limited or not is_own(actor, event)]
    hidden = find_hidden_then(actor.viewer, to_check)
    return [event for event in shown if event.pk not in hidden]


def _find_visible_projects(actor: Actor, project_ids: Collection[int]) -> set[tuple[str, int]]:
    """Return ("project", id) of the projects that the actor can see, and (CONTENTS, id) of those
    whose rows the actor can see.

    The trash lists a project, but its rows are hidden from all but its owners, who may restore it.
    """
    projects = Project.everything.visible_to(actor.viewer).filter(pk__in=sorted(project_ids))
    in_trash = dict(projects.values_list("pk", "deleted_at"))
    opened = {pk for pk, deleted_at in in_trash.items() if deleted_at is None or actor.is_staff}
    if closed := sorted(in_trash.keys() - opened):
        owned = ProjectMember.objects.with_role(actor.viewer, Role.OWNER)
        opened |= set(owned.filter(project__in=closed).values_list("project_id", flat=True))
    return {("project", pk) for pk in in_trash} | {(CONTENTS, pk) for pk in opened}


def _is_visible(actor: Actor, event: Event, rows: Rows, visible: set[tuple[str, int]]) -> bool:
    """Whether the actor can see the row of the event. `visible` are the visible projects and
    rows.
    """
    subject = _subject(event)
    project_ids = project_ids_of(event, rows)
    kind = "project" if event.subject_type == "project" else CONTENTS
    if not all((kind, pk) in visible for pk in project_ids):
        return False
    if _has_own_visibility(event) and subject in rows:
        return subject in visible
    if project_ids and not _has_own_visibility(event):
        return True
    # Rows outside projects and permanently deleted drafts are visible to administrators and to the
    # user who made the change; with a token that is limited to projects, only new tags of the user.
    if actor.project_ids is not None and not project_ids:
        return _is_own_new_tag(actor, event)
    return is_own(actor, event) or actor.is_staff or _is_own_profile(actor, event)


def _has_own_visibility(event: Event) -> bool:
    """Whether seeing the project is not enough to see the row of the event, as for drafts."""
    resource_type = resource_types().get(event.subject_type)
    return resource_type is not None and resource_type.own_visibility is not None


def require_rights(actor: Actor, events: Iterable[Event], rows: Rows) -> None:
    """Raise Forbidden unless the actor may make the inverse change of each event now.

    It does not matter who made the change. The caller must refuse events that the actor cannot see.
    """
    required: set[tuple[int, tuple[Role, ...]]] = set()
    closed: set[int] = set()  # projects that must not be archived
    for event in events:
        if event.subject_type not in resource_types():
            continue  # it cannot be undone, so it needs no right
        project_ids = project_ids_of(event, rows)
        row = rows.get(_subject(event))
        if event.subject_type in ACCOUNT_TYPES:
            _require_account_rights(actor, event, row)
        elif event.subject_type == "view":
            _require_view_rights(actor, event, row)
        elif not project_ids and not _is_own_new_tag(actor, event):
            require_staff(actor)
        required |= {(pk, _roles_for(actor, event, row)) for pk in project_ids}
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


def _require_account_rights(actor: Actor, event: Event, row: Any) -> None:
    """Raise Forbidden unless the actor is an administrator, or the event is about the actor's own
    profile or about a token that the actor can see, which the actor may then revoke.

    In either case the actor needs a token of scope admin.
    """
    if actor.scope != TokenScope.ADMIN:
        raise Forbidden(
            f"Undoing a change of a {event.subject_type} requires a token of scope admin.",
            code="insufficient_scope",
        )
    former = _former_values(event)
    if former and row is not None and is_credential_change(row, former):
        raise NEEDS_PASSWORD.copy()
    is_visible_token = event.subject_type == "apitoken" and row is not None
    if not (is_visible_token or _is_own_profile(actor, event)):
        require_staff(actor)


def _require_view_rights(actor: Actor, event: Event, row: View | None) -> None:
    """Raise Forbidden unless the actor owns the view. One that was deleted belonged to who could
    delete it.
    """
    if row is not None:
        require_view_owner(actor, row)
    elif not is_own(actor, event):
        require_staff(actor)


def _former_values(event: Event) -> dict[str, object]:
    """Return the e-mail that undoing a change of a user would set, if the event has changed it."""
    before, after = event.changes.get("email", (None, None))
    return {"email": before} if event.subject_type == "user" and before and after else {}


def _is_own_profile(actor: Actor, event: Event) -> bool:
    """Whether the event has changed only what users may change of themselves, of the actor."""
    is_own_row = event.subject_type == "user" and event.subject_id == actor.user.pk
    return is_own_row and not actor.is_operator and event.changes.keys() <= PROFILE_FIELDS


def _roles_for(actor: Actor, event: Event, row: Any) -> tuple[Role, ...]:
    """Return the roles of which the actor needs one in the event's projects.

    They are the roles that may make the inverse change through the API. `row` is the present row,
    or None if it was deleted permanently.
    """
    if event.subject_type == "project":
        is_in_trash = row is not None and row.deleted_at is not None  # its owners may restore it
        is_of_owner = is_in_trash or {"owner", "deleted_at"} & event.changes.keys()
        return (Role.OWNER,) if is_of_owner else MANAGERS
    if event.subject_type == "projectmember":
        return _roles_for_membership(actor, event, row)
    # The author is the present one: a page may have been given to another user since.
    author = resource_types()[event.subject_type].author
    if row is not None and author and getattr(row, f"{author}_id") != actor.user.pk:
        return MANAGERS
    return WRITERS


def _roles_for_membership(actor: Actor, event: Event, row: Any) -> tuple[Role, ...]:
    """Return the roles that may undo a change of a membership. Users may leave a project."""
    is_leaving = is_creation(ProjectMember, event.changes)
    if is_leaving and row is not None and row.user_id == actor.user.pk:
        return WRITERS
    roles = [*event.changes.get("role", ()), row and row.role]
    return (Role.OWNER,) if Role.OWNER in roles else MANAGERS


def _subject(event: Event) -> tuple[str, int]:
    return event.subject_type, event.subject_id
