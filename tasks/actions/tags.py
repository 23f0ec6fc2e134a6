"""The actions on tags."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Value
from django.db.models.functions import Lower

from accounts.rules import require_staff
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, create_all, lock, remove
from taskflow.http.errors import Invalid
from tasks.models import Tag

# By one request. All tasks of the tenant share the tags: 500 generated names in one request would
# make the list of tags useless for people.
MAX_NEW_TAGS = 100


def create_tag(actor: Actor, *, name: str, color: str | None = None) -> Tag:
    """Create a tag. Raises Conflict if the tenant has one of this name; case does not count."""
    return create(actor, Tag(name=name, color=color))


def update_tag(actor: Actor, tag: Tag, **values: Any) -> Tag:
    """Change the name or color of a tag, for all tasks that have it. For administrators."""
    require_staff(actor)
    return change(actor, tag, **values)


def delete_tag(actor: Actor, tag: Tag) -> None:
    """Delete a tag and remove it from all tasks. For administrators."""
    require_staff(actor)
    lock(tag)  # else a task that gets it at the same time would lose it without an event
    remove(actor, tag)


def check_new_tags(names: Iterable[str]) -> None:
    """Raise Invalid if a request with these names would create more than MAX_NEW_TAGS tags."""
    wanted = {name.lower(): name for name in names}
    if len(wanted) > MAX_NEW_TAGS:
        _check_new_count(len(wanted.keys() - find_tags(wanted.values()).keys()))


def _check_new_count(count: int) -> None:
    if count > MAX_NEW_TAGS:
        raise Invalid(
            f"This would create {count} tags; one request may create {MAX_NEW_TAGS}."
            " Send fewer new names at once.",
            code="too_many",
        )


def find_or_create_tags(actor: Actor, names: Iterable[str]) -> dict[str, Tag]:
    """Return the tags with these names by name, and create those that do not exist.

    Case does not count. Raises Invalid if more than MAX_NEW_TAGS would be created.
    """
    given = list(names)
    if not given:
        return {}
    wanted = {name.lower(): name for name in given}
    found = find_tags(wanted.values())
    # In one order, or two requests that create the same tags could deadlock.
    missing = [wanted[folded] for folded in sorted(wanted.keys() - found.keys())]
    _check_new_count(len(missing))
    if missing:
        try:
            with transaction.atomic():
                create_all(actor, [Tag(name=name) for name in missing])
        except IntegrityError:  # another request created one of them at the same time
            for name in missing:
                if not find_tags([name]):
                    create(actor, Tag(name=name))
        found = find_tags(wanted.values())
    # A database may treat two names as equal that differ in Python.
    return {name: found.get(name.lower()) or find_tags([name]).popitem()[1] for name in given}


def find_tags(names: Iterable[str]) -> dict[str, Tag]:
    """Return the tags with these names, case aside, by their names in lower case. One query."""
    folded = [Lower(Value(name)) for name in names]
    tags = Tag.objects.annotate(folded=Lower("name")).filter(folded__in=folded)
    return {tag.name.lower(): tag for tag in tags}
