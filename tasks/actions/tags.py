"""What can happen to a tag."""

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

# By one request. All tasks of the tenant share the tags: a computed name in each of 500 operations
# would bury those that people choose from.
MOST_NEW_TAGS = 100


def create_tag(actor: Actor, *, name: str, color: str | None = None) -> Tag:
    """Add a tag to the tenant. Raises Conflict when one of this name exists, case aside."""
    return create(actor, Tag(name=name, color=color))


def update_tag(actor: Actor, tag: Tag, **values: Any) -> Tag:
    """Rename or recolour a tag, for all tasks that carry it. For administrators."""
    require_staff(actor)
    return change(actor, tag, **values)


def delete_tag(actor: Actor, tag: Tag) -> None:
    """Take a tag off all tasks and delete it. For administrators."""
    require_staff(actor)
    lock(tag)  # or a task that takes it at this moment would lose it without a record
    remove(actor, tag)


def check_new_tags(names: Iterable[str]) -> None:
    """Raise Invalid when a request that uses these names would make more tags than one may."""
    wanted = {name.lower(): name for name in names}
    if len(wanted) > MOST_NEW_TAGS:
        _check_new_count(len(wanted.keys() - find_tags(wanted.values()).keys()))


def _check_new_count(count: int) -> None:
    if count > MOST_NEW_TAGS:
        raise Invalid(
            f"This would make {count} new tags; a request may make {MOST_NEW_TAGS}."
            " Use fewer names at a time.",
            code="too_many",
        )


def find_or_create_tags(actor: Actor, names: Iterable[str]) -> dict[str, Tag]:
    """The tags of these names, case aside, by name; those that don't exist yet are made.

    Raises Invalid when that would be more than MOST_NEW_TAGS.
    """
    asked = list(names)
    if not asked:
        return {}
    wanted = {name.lower(): name for name in asked}
    found = find_tags(wanted.values())
    # In one order, or two requests that make the same tags could wait for each other.
    missing = [wanted[folded] for folded in sorted(wanted.keys() - found.keys())]
    _check_new_count(len(missing))
    if missing:
        try:
            with transaction.atomic():
                create_all(actor, [Tag(name=name) for name in missing])
        except IntegrityError:  # somebody made one of them at this moment
            for name in missing:
                if not find_tags([name]):
                    create(actor, Tag(name=name))
        found = find_tags(wanted.values())
    # A database may see two names as one that Python tells apart.
    return {name: found.get(name.lower()) or find_tags([name]).popitem()[1] for name in asked}


def find_tags(names: Iterable[str]) -> dict[str, Tag]:
    """Return the tags that have these names, case aside, by their names in lower case."""
    folded = [Lower(Value(name)) for name in names]
    tags = Tag.objects.annotate(folded=Lower("name")).filter(folded__in=folded)
    return {tag.name.lower(): tag for tag in tags}
