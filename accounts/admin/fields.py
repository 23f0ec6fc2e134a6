"""Form fields that read what a person types by the same rules as the body of an API request."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput

from taskflow.http.converters import is_id
from taskflow.http.parsing import parse_metadata


class JsonField(forms.JSONField):
    """JSON that means one thing and can be stored. An empty field is an empty object."""

    def __init__(self, **kwargs: Any) -> None:
        # Django compares with a hidden copy where the column's default is a function; the stored
        # value is at hand, and a copy that was not sent would look like an empty object.
        super().__init__(**kwargs | {"show_hidden_initial": False})

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return {}
        if self.disabled or not isinstance(value, str):
            return value
        try:
            return parse_metadata(value)
        except ValueError as error:
            raise ValidationError(f"This cannot be read: {error}", code="invalid") from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """The value to show again; the text as it was typed when it cannot be read."""
        try:
            return initial if self.disabled else self.to_python(data)
        except ValidationError:
            return InvalidJSONInput(data)


class RowMultipleChoiceField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Rows by their ids. What cannot be an id is refused before the database is asked for it."""

    def clean(self, value: Any) -> Any:
        for text in value if isinstance(value, list | tuple) else []:
            if not is_id(str(text)):
                message = self.error_messages["invalid_pk_value"]
                raise ValidationError(message, code="invalid_pk_value", params={"pk": text})
        return super().clean(value)


class IdCheckedBoundField(forms.BoundField):
    """A field as it is shown. Choices of rows are shown without what cannot be an id.

    The widget asks the database for the rows that are chosen, also when the form refuses them.
    """

    def value(self) -> Any:
        value = super().value()
        if not isinstance(self.field, forms.ModelChoiceField):
            return value
        if isinstance(value, list | tuple):
            return [one for one in value if is_id(str(one))]
        return value if value is None or is_id(str(value)) else None
