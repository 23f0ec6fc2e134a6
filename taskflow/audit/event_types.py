"""The types of events: each resource type with each verb that is recorded for it."""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cache

from taskflow.audit.resource_types import ResourceType, resource_types
from taskflow.audit.verbs import EVENT_VERBS


def known_event_types() -> Set[str]:
    """Return all types of events, such as `task.completed`.

    They follow from the descriptions of the resource types and verbs, which the apps register when
    they are loaded.
    """
    return _compute_types(len(EVENT_VERBS))


@cache
def _compute_types(_number_of_verbs: int) -> Set[str]:
    types = {
        f"{resource_type.name}.{verb}"
        for resource_type in resource_types().values()
        for verb in _verbs_of_rows(resource_type)
    }
    for (subject_type, verb), described in EVENT_VERBS.items():
        inverses = (described.inverse, *described.inverses_by_value.values())
        types |= {f"{subject_type}.{name}" for name in (verb, *inverses) if name}
    return types


def _verbs_of_rows(resource_type: ResourceType) -> Iterable[str]:
    """Yield the verbs that rows of the type have without a description of the verb."""
    yield from (resource_type.created_verb, resource_type.removed_verb, "changed")
    if resource_type.removal:
        yield resource_type.removal[0]
    if resource_type.is_trashable:
        yield from ("deleted", "restored", "purged")
