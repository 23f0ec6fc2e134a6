"""
Who may take a change back.

An undo makes the inverse change, so it is judged like that change made now: on the row as it is
now, in the project where the row is now, and by the role that the actor has there now. What the
actor cannot see now is absent, as if the event did not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from accounts.models import ApiToken
from accounts.rules import require_staff
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.http.errors import Forbidden
from tasks.models import Page, Project, Role
from tasks.rules import MANAGERS, require_role

Rows = Mapping[tuple[str, int], Any]  # as stored, by subject type and id; gone ones are missing
OF_PEOPLE = frozenset({"tenant", "user", "apitoken"})
OWN_PROFILE = frozenset({"full_name", "handle", "email"})


def is_own(actor: Actor, event: Event) -> bool:
    """Whether the actor made the change. An operator has no user in the tenant."""
    if actor.is_operator:
        return event.actor_id is None and event.operator_id == actor.user.pk
    return event.actor_id == actor.user.pk


def places_of(event: Event, rows: Rows) -> set[int]:
    """The projects that taking the event back concerns: the row's present one, or its last if the
    row is gone, and for a task that moved both that it moved between.
    """
    row = rows.get(_subject(event))
    field = type(row).project_field if row is not None else None
    place = getattr(row, field) if field else event.project_id
    moved = event.changes.get("project", []) if event.subject_type == "task" else []
    return {pk for pk in (place, *moved) if pk is not None}


def visible_events(actor: Actor, events: Sequence[Event], rows: Rows) -> list[Event]:
    """Those of the events whose rows and projects the actor sees now, in three queries."""
    places = {pk for event in events for pk in places_of(event, rows)}
    projects = Project.everything.visible_to(actor.viewer).filter(pk__in=sorted(places))
    seen = {("project", pk) for pk in projects.values_list("pk", flat=True)}
    for kind, shown in (
        ("page", Page.everything.visible_to(actor.viewer)),
        ("apitoken", ApiToken.objects.visible_to(actor.viewer)),
    ):
        ids = sorted({e.subject_id for e in events if e.subject_type == kind})
        if ids:
            seen |= {(kind, pk) for pk in shown.filter(pk__in=ids).values_list("pk", flat=True)}
    return [event for event in events if _is_visible(actor, event, rows, seen)]


def _is_visible(actor: Actor, event: Event, rows: Rows, seen: set[tuple[str, int]]) -> bool:
    kind, subject = event.subject_type, _subject(event)
    is_mine = is_own(actor, event)
    places = places_of(event, rows)
    if not all(("project", pk) in seen for pk in places):
        return False
    if kind in ("page", "apitoken") and subject in rows:
        return subject in seen
    if places and kind != "page":
        return True
    # What belongs to no project, and a draft that is gone, is shown to administrators and to whom
    # it is of. A token bound to projects shows of that only the tags its user made.
    if actor.project_ids is not None and not places:
        return _is_own_new_tag(actor, event)
    return is_mine or actor.is_staff


def require_rights(actor: Actor, events: Iterable[Event], rows: Rows) -> None:
    """Raise Forbidden unless the actor may make the inverse change of each event now.

    One's own changes one may take back as one could make them; those of others take the project's
    owners and admins. Events that the actor does not see are the caller's to refuse.
    """
    asked: set[tuple[int, tuple[Role, ...]]] = set()
    for event in events:
        places = places_of(event, rows)
        if event.subject_type in OF_PEOPLE:
            _require_hold(actor, event)
        elif not places and not _is_own_new_tag(actor, event):
            require_staff(actor)
        roles = _roles_for(actor, event, rows.get(_subject(event)))
        asked |= {(pk, roles) for pk in places}
    projects = Project.everything.in_bulk(sorted({pk for pk, _roles in asked}))
    for pk, roles in sorted(asked):
        require_role(actor, projects[pk], *roles)


def _is_own_new_tag(actor: Actor, event: Event) -> bool:
    """Tags are deleted by administrators; but who just made one may take that back, as long as no
    task of others carries it.
    """
    return event.subject_type == "tag" and event.verb == "created" and is_own(actor, event)


def _require_hold(actor: Actor, event: Event) -> None:
    """People are administered by administrators; one's own profile and tokens are one's own."""
    if actor.scope != TokenScope.ADMIN:
        raise Forbidden(
            f"Taking back a change of a {event.subject_type} needs a token of scope admin.",
            code="insufficient_scope",
        )
    is_mine = event.subject_id == actor.user.pk and event.changes.keys() <= OWN_PROFILE
    if not (is_own(actor, event) and (is_mine or event.subject_type == "apitoken")):
        require_staff(actor)


def _roles_for(actor: Actor, event: Event, row: Any) -> tuple[Role, ...]:
    """The roles that may take the event back in its projects; `row` is None when it is gone."""
    kind, changes = event.subject_type, event.changes
    if kind == "project" and {"owner", "deleted_at"} & changes.keys():
        return (Role.OWNER,)
    if kind == "projectmember":
        held = [*changes.get("role", ()), row and row.role]
        return (Role.OWNER,) if Role.OWNER in held else MANAGERS
    if kind == "project" or not is_own(actor, event):
        return MANAGERS
    # A comment is its author's and a page its owner's, whoever has changed it.
    holders = {"comment": "author_id", "page": "owner_id"}
    if row is not None and kind in holders and getattr(row, holders[kind]) != actor.user.pk:
        return MANAGERS
    return tuple(Role)


def _subject(event: Event) -> tuple[str, int]:
    return event.subject_type, event.subject_id
