"""Actions on tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.rules import require_staff, require_unbound
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, create_all, lock, remove
from taskflow.db.text import fold_key
from taskflow.http.errors import Invalid
from taskflow.http.unavailable import Contended
from tasks.models import Tag

# The limit for one request. Tags are shared by all tasks of the tenant, so that a request with 500
# generated names would make the list of tags useless for people.
MAX_NEW_TAGS = 100
MAX_CREATE_ATTEMPTS = 5  # while other requests create the same tags, and rename or delete them


def create_tag(actor: Actor, *, name: str, color: str | None = None) -> Tag:
    """Create a tag. Raises Conflict if there is a tag of this name, without regard to case.

    Raises Forbidden for a token bound to projects: the tag would have no task in them.
    """
    require_unbound(actor, "tags")
    return create(actor, Tag(name=name, color=color))


def update_tag(actor: Actor, tag: Tag, **values: Any) -> Tag:
    """Change the name or color of a tag on all tasks. Requires an administrator of the tenant."""
    require_staff(actor)
    return change(actor, tag, **values)


def delete_tag(actor: Actor, tag: Tag) -> None:
    """Delete a tag and remove it from all tasks. Requires an administrator of the tenant."""
    require_staff(actor)
    lock(tag)  # otherwise a task that gets the tag at the same time would lose it without an event
    remove(actor, tag)


def check_new_tags(names: Iterable[str]) -> None:
    """Raise Invalid if a request with these names would create more than MAX_NEW_TAGS tags."""
    by_folded = {fold_key(name): name for name in names}
    if len(by_folded) > MAX_NEW_TAGS:
        _check_new_count(len(by_folded.keys() - find_tags(by_folded.values()).keys()))


def _check_new_count(count: int) -> None:
    if count > MAX_NEW_TAGS:
        raise Invalid(
            f"This would create {count} tags; one request may create {MAX_NEW_TAGS}."
            " Send fewer new names at once.",
            code="too_many",
        )


def find_or_create_tags(actor: Actor, names: Iterable[str]) -> dict[str, Tag]:
    """Return the tags with these names, by the given name. Creates tags that do not exist.

    Names are compared without regard to case. Raises Invalid if more than MAX_NEW_TAGS would be
    created, and Contended if other requests create and rename or delete these tags again and again.
    """
    given = list(names)
    if not given:
        return {}
    by_folded = {fold_key(name): name for name in given}
    for _ in range(MAX_CREATE_ATTEMPTS):
        tags = find_tags(by_folded.values())
        # Sorted: two requests that create the same tags in different orders could deadlock.
        missing = [by_folded[folded] for folded in sorted(by_folded.keys() - tags.keys())]
        if not missing:
            return {name: tags[fold_key(name)] for name in given}
        _check_new_count(len(missing))
        if created := _try_create_tags(actor, missing):
            tags |= {fold_key(tag.name): tag for tag in created}
            return {name: tags[fold_key(name)] for name in given}
    raise Contended


def _try_create_tags(actor: Actor, names: Iterable[str]) -> Sequence[Tag]:
    """Create these tags. Return none of them if another request has created one meanwhile."""
    try:
        with transaction.atomic():
            return create_all(actor, [Tag(name=name) for name in names])
    except IntegrityError:
        return ()


def find_tags(names: Iterable[str], rows: QuerySet[Tag] | None = None) -> dict[str, Tag]:
    """Return the tags with these names, by fold_key() of the name. One query.

    They are selected from `rows`, by default from all tags of the tenant.
    """
    rows = Tag.objects.all() if rows is None else rows
    tags = rows.filter(name_folded__in={fold_key(name) for name in names})
    return {fold_key(tag.name): tag for tag in tags}
