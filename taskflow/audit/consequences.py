"""Events that follow from changes of other rows, without a change of their own subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskflow.tenancy import Changes, TenantModel

# Takes the changed rows of a model with their changes. Returns rows of one model with a verb each.
ConsequenceFinder = Callable[[Sequence[tuple[Any, Changes]]], Sequence[tuple[TenantModel, str]]]
_finders: dict[type[TenantModel], ConsequenceFinder] = {}


def register_consequences(model: type[TenantModel], find: ConsequenceFinder) -> None:
    """Let the recorder write the events that `find` returns after each change of rows of the model.

    They are written in the same transaction, after the events of the changes.
    """
    _finders[model] = find


def find_consequences(
    model: type[TenantModel], changes: Sequence[tuple[TenantModel, Changes]]
) -> Sequence[tuple[TenantModel, str]]:
    """Return the rows and verbs of the events that follow from changes of rows of one model."""
    find = _finders.get(model)
    return find(changes) if find else ()
