"""The columns of a model's table."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import models


@cache
def columns_of(model: type[models.Model]) -> tuple[Any, ...]:
    """Return the fields that are columns of the model's table, in the order of the table.

    The primary key, foreign keys and generated columns are included. Many-to-many fields, and
    relations whose column is in another table, are not. Needs all models to be loaded.
    """
    # Any, because the stubs leave out attributes of fields, such as db_index.
    return tuple(
        field for field in model._meta.get_fields() if field.concrete and not field.many_to_many
    )
