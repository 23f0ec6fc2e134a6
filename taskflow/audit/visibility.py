"""
Which events a viewer can see.

An event contains former values of a row, so it is as visible as the row was. A viewer sees an event
if the viewer, with the memberships of now, may see the row as it is now, and may see it as it was
at the event: in its project of then, and published or a draft as it was then. So what was removed
before a row was moved or published stays hidden, and a new member sees the past of the project.

An administrator with a token for the whole tenant, which no other user than an administrator has
created, sees all events.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import BigIntegerField, Exists, Model, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType, resource_types, type_of_model
from taskflow.db.viewer import Viewer


def sees_all_events(viewer: Viewer) -> bool:
    return viewer.is_staff and viewer.project_ids is None and viewer.maker_id is None


def select_visible_events(viewer: Viewer, events: QuerySet[Event]) -> QuerySet[Event]:
    """Return the events of rows in projects that the viewer can see.

    A row that was deleted permanently is not visible or invisible now; only its state then counts.
    """
    if sees_all_events(viewer):
        return events
    visible = select_events_visible_then(viewer, events)
    for resource_type in _types_in_projects():
        is_other = ~Q(subject_type=resource_type.name)
        visible = visible.filter(is_other | _is_visible_now(viewer, resource_type))
    return visible


def select_log(viewer: Viewer, events: QuerySet[Event]) -> QuerySet[Event]:
    """Return the events that a list of the log shows to the viewer.

    Histories are of a project or of something in it, so only administrators see the others: events
    of users, tokens and sign-ins, and those of tags, which contain ids of tasks.
    """
    if sees_all_events(viewer):
        return events
    return select_visible_events(viewer, events.filter(project_id__isnull=False))


def select_events_visible_then(viewer: Viewer, events: QuerySet[Event]) -> QuerySet[Event]:
    """Return the events at which the viewer, with the memberships of now, could see the row."""
    if sees_all_events(viewer):
        return events
    projects = _projects(viewer).values("pk")
    in_project = Q(project_id__isnull=True) | Q(project_id__in=projects)
    # An undo may change the project and other fields with one event, whose verb is then “changed”.
    # Their former values are those of the former project. A move changes no other fields.
    former_project = KeyTextTransform(0, KeyTransform("project", "changes"))
    visible = events.alias(_former_project=Cast(former_project, BigIntegerField())).filter(
        in_project,
        ~Q(verb="changed", changes__has_key="project") | Q(_former_project__in=projects),
    )
    for resource_type in resource_types().values():
        if resource_type.draft_visibility is not None:
            is_other = ~Q(subject_type=resource_type.name)
            may_see = Q(was_published=True) | _may_see_drafts(viewer, resource_type)
            visible = visible.filter(is_other | may_see)
    return visible


def select_referable_rows(viewer: Viewer, model: type[Model]) -> QuerySet[Any]:
    """Return the rows of a resource type to which the viewer may make others refer: those that are
    visible, also in the trash.
    """
    resource_type = type_of_model(model)
    if resource_type.is_referred_by_name:
        return resource_type.all_rows()
    path = resource_type.path_to(resource_types()["project"].model)
    if path in (None, "pk"):
        visible: QuerySet[Any] = resource_type.model._base_manager.visible_to(viewer)
        return visible
    rows = resource_type.rows_visible_within_project(viewer)
    return rows.filter(**{f"{path}__in": _projects(viewer)})


def find_hidden_then(viewer: Viewer, events: Collection[Event]) -> set[int]:
    """Return the ids of those of the events at which the viewer could not see the row.

    One query, or none for a viewer who sees all events.
    """
    ids = {event.pk for event in events}
    if sees_all_events(viewer) or not ids:
        return set()
    rows = select_events_visible_then(viewer, Event.objects.filter(pk__in=sorted(ids)))
    return ids - set(rows.values_list("pk", flat=True))


def _types_in_projects() -> list[ResourceType]:
    """Return the types whose rows can move to another project, or be invisible within it."""
    return [t for t in resource_types().values() if t.belongs_to is not None]


def _projects(viewer: Viewer) -> QuerySet[Any]:
    """Return the projects that the viewer is a member of, also those in the trash."""
    model = resource_types()["project"].model
    projects: QuerySet[Any] = model._base_manager.visible_to(viewer)
    return projects


def _is_visible_now(viewer: Viewer, resource_type: ResourceType) -> Q:
    """Return the condition that the row of an event is visible, or does not exist any more."""
    project_type = resource_types()["project"]
    path = resource_type.path_to(project_type.model)
    projects = project_type.model._default_manager.visible_to(viewer)
    own = resource_type.model._base_manager.filter(pk=OuterRef("subject_id"))
    visible = resource_type.rows_visible_within_project(viewer).select_related(None)
    visible = visible.filter(**{"pk": OuterRef("subject_id"), f"{path}__in": projects})
    return Q(Exists(visible)) | ~Q(Exists(own))


def _may_see_drafts(viewer: Viewer, resource_type: ResourceType) -> Q:
    """Return the condition that the viewer may see the row of an event even as a draft."""
    rows = resource_type.model._base_manager.filter(pk=OuterRef("subject_id"))
    return Q(Exists(getattr(rows, resource_type.draft_visibility or "")(viewer)))
