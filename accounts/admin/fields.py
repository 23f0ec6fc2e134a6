"""Form fields that validate text by the same rules as the body of an API request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

from taskflow.http.converters import is_id
from taskflow.http.parsing import parse_metadata

FormValues = dict[str, Any]  # cleaned by the fields of a form, by their names
# What the fields of a form say, by the code of the error. Django's own sentences say what a value
# is not. These say what to do.
MESSAGES = {
    "required": _("Enter or choose a value."),
    "invalid_choice": _("Choose a value of the list."),
    "invalid_pk_value": _("Choose values of the list."),
    "invalid_list": _("Choose values of the list."),
    "invalid_date": _("Enter a day that exists, such as 2026-01-31."),
    "invalid_time": _("Enter a time of day, such as 09:00."),
    "max_length": _("Shorten the text to %(limit_value)d characters; it has %(show_value)d."),
    "min_value": _("Enter %(limit_value)s or more."),
    "max_value": _("Enter %(limit_value)s or less."),
}
# What to do about the code “invalid”, by the class of the field.
FORMATS = {
    forms.EmailField: _("Enter an e-mail address, such as ada@example.com."),
    forms.DateField: _("Enter a day that exists, such as 2026-01-31."),
    forms.DateTimeField: _("Enter a day and a time, such as 2026-01-31 09:00."),
    forms.IntegerField: _("Enter a whole number, such as 30."),
}


def set_messages(fields: Iterable[forms.Field]) -> None:
    """Let the fields of a form say what to do about a wrong value."""
    for field in fields:
        field.error_messages = {**field.error_messages, **MESSAGES}
        formats = [text for kind, text in FORMATS.items() if isinstance(field, kind)]
        if formats:
            field.error_messages["invalid"] = formats[0]


class JsonField(forms.JSONField):
    """JSON without duplicate keys, of values that can be stored. An empty field means {}."""

    def __init__(self, **kwargs: Any) -> None:
        # Where a column's default is a function, Django compares with a hidden copy of the value in
        # the form. Without that copy, the stored value would look like an empty object.
        super().__init__(**kwargs | {"show_hidden_initial": False})

    def to_python(self, value: object) -> Any:
        if value in self.empty_values:
            return {}
        if self.disabled or not isinstance(value, str):
            return value
        try:
            return parse_metadata(value)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from None

    def bound_data(self, data: object, initial: object) -> object:
        """Return the value to show again: the text as it was typed if it is not valid."""
        try:
            return initial if self.disabled else self.to_python(data)
        except ValidationError:
            return InvalidJSONInput(data)


class RowMultipleChoiceField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A choice of rows by id. Text that cannot be an id is refused without a query."""

    def clean(self, value: object) -> Any:
        for text in value if isinstance(value, list | tuple) else []:
            if not is_id(str(text)):
                message = self.error_messages["invalid_pk_value"]
                raise ValidationError(message, code="invalid_pk_value", params={"pk": text})
        return super().clean(value)


class IdCheckedBoundField(forms.BoundField):
    """A bound field that leaves text which cannot be an id out of the choices of rows it shows.

    The widget loads the chosen rows even if the form refuses them, and such text is no valid key.
    """

    def value(self) -> object:
        value = super().value()
        if not isinstance(self.field, forms.ModelChoiceField):
            return value
        if isinstance(value, list | tuple):
            return [one for one in value if is_id(str(one))]
        return value if value is None or is_id(str(value)) else None
