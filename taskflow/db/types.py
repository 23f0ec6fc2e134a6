"""Types of SQL, of its parameters and of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from django.db import models
    from django.db.models.expressions import BaseExpression, Combinable

SqlExpression: TypeAlias = (
    "Combinable | BaseExpression"  # whatever a queryset takes as an expression
)

MAX_ID = 2**63 - 1  # of a bigint, the type of ids

# What as_sql() returns. Django 5.2 passes lists and tuples of params, also of Parameters; its stubs
# are those of a later version, which has only tuples.
SqlAndParams = tuple[str, Any]

# The values of the selected columns. Only the SQL determines their types.
Row = tuple[Any, ...]

AnyField: TypeAlias = "models.Field[Any, Any]"  # a field of values of any type

Position = Sequence[Any]  # a value, or a Parameter, for each field of an order


class ParameterValues(Protocol):
    """The values of the parameters of a statement: a mapping by name, or a list by number."""

    def __getitem__(self, name: Any, /) -> object: ...
