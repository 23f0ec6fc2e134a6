"""The created rows that an undo cannot remove, because other rows need them."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext, gettext_noop

from taskflow.audit.models import Event
from taskflow.audit.undo.plan import Obstacle, Plan
from tasks.models import Tag, Task, TaskTag
from tasks.models.registry import TRASHABLE_TYPES


def find_tags_in_use(plan: Plan) -> Iterable[Obstacle]:
    """Yield the created tags that would be deleted although tasks have them.

    Links of tasks in the trash are no obstacle: they are deleted with the tag, whose event lists
    them. The tasks are not named, since the actor may be unable to see their projects.
    """
    removed = {r.row.pk: r for r in plan.reversals_of(Tag) if r.is_removed}
    changed_links = {
        r.row.pk: r.links["tags"] for r in plan.reversals_of(Task) if "tags" in r.links
    }
    undone_links = {
        (r.row.pk, pk) for r in removed.values() for e in r.events for pk in _task_ids_of(e)
    }
    links = TaskTag.objects.filter(tag__in=list(removed), task__in=Task.objects.outside_trash())
    links = links.exclude(task__in=plan.removed_ids(Task))
    used_ids = {
        tag_id
        for task_id, tag_id in links.values_list("task_id", "tag_id")
        if changed_links.get(task_id, {}).get(tag_id) is not False
        and (tag_id, task_id) not in undone_links
    }
    for tag_id in sorted(used_ids):
        yield removed[tag_id].obstacle("in_use", gettext_noop("Other tasks have this tag."))


def _task_ids_of(event: Event) -> list[int]:
    """Return the ids of the tasks that this event of a tag has linked it to."""
    _before, after = event.changes.get("tasks", ((), ()))
    return list(after)


def find_new_children(plan: Plan) -> Iterable[Obstacle]:
    """Yield the created rows to which other rows belong that would disappear with them."""
    removed = {(r.resource_type.model, r.row.pk): r for r in plan.reversals if r.is_removed}
    for resource_type in TRASHABLE_TYPES:
        model = resource_type.model
        for name in filter(None, (resource_type.belongs_to, resource_type.parent)):
            field = model._meta.get_field(name)
            owners = plan.removed_ids(field.related_model)
            children = model.objects.filter(**{f"{name}__in": owners}) if owners else ()
            for child in children:
                if (model, child.pk) not in removed:
                    owner = removed[field.related_model, getattr(child, field.attname)]
                    detail = gettext("The %(kind)s %(id)s belongs to it and would disappear.")
                    detail %= {"kind": gettext(resource_type.label), "id": child.pk}
                    yield owner.obstacle("in_use", detail)
