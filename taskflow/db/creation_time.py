"""The time at which a row was created."""

from __future__ import annotations

from typing import Any

from django.db import models


class CreationTime(models.DateTimeField):  # type: ignore[type-arg]
    """The time of the INSERT, or an earlier one that an import or an undo has set on the row.

    For migrations it is Django's field with `auto_now_add`, which would replace a time that is set.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"auto_now_add": True, **kwargs})

    def deconstruct(self) -> Any:
        """Return Django's own field, so that migrations do not depend on this class."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        set_time = model_instance.__dict__[self.attname]
        if add and set_time:
            return set_time
        return models.DateTimeField.pre_save(self, model_instance, add)
