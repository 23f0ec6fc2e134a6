"""Forms of the admin, whose values are checked by the API's schemas and saved by actions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib.admin.widgets import AutocompleteSelect
from django.db import models
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext

from accounts.admin.fields import FormValues, IdCheckedBoundField, JsonField, set_messages
from taskflow.admin.refusals import refusal_as_html, sentence_of
from taskflow.audit.values import as_recorded
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values
from taskflow.http.schema import In

FORMFIELD_CLASSES: dict[Any, Any] = {models.JSONField: {"form_class": JsonField}}
# White space around the value is kept.
UNSTRIPPED_FIELDS = frozenset({"body", "description", "password", "current_password"})
LINE_BREAK = re.compile(r"[\r\n]")  # which a browser leaves out in a field of one line
NOT_IN_SCHEMA_CHECK = frozenset({"password", "current_password"})  # only the action checks them


class RecordedForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form that checks unique constraints per tenant, and shows why an action refused its values.

    Subclasses have no Meta: the admin builds the form class during the request, inside its tenant,
    since the choices of foreign keys are rows of the tenant.
    """

    bound_field_class = IdCheckedBoundField
    schema: ClassVar[type[In]] = In  # the API's schema of the same resource
    viewer: ClassVar[Viewer]  # who sees the form: its choices are rows that the viewer can see
    refusal: Problem | None = None
    # The version of the row that the form shows.
    row_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: QueryDict | None = None, *args: Any, **kwargs: Any) -> None:
        normalized = normalize_newlines(data)
        super().__init__(normalized, *args, **kwargs)
        set_messages(self.fields.values())
        if self.instance.pk:
            self.fields["row_version"].initial = self.instance.version
        for name in UNSTRIPPED_FIELDS & self.fields.keys():
            self.fields[name].strip = False  # type: ignore[attr-defined]
        for field in self.fields.values():
            if isinstance(field, forms.DateTimeField | forms.SplitDateTimeField):
                field.help_text = gettext("Time zone: %(zone)s.") % {
                    "zone": timezone.get_current_timezone_name()
                }
        if normalized is not None and self.instance.pk:
            self._restore_unedited_texts(normalized)

    def _restore_unedited_texts(self, data: QueryDict) -> None:
        """Replace each text that came back as the form showed it by the stored text.

        A browser removes line breaks from a field of one line, and Django removes white space
        around a value. Neither is an edit, but both would be stored.
        """
        for name, field in self.fields.items():
            stored, key = self.initial.get(name), self.add_prefix(name)
            if not isinstance(field, forms.CharField) or not isinstance(stored, str):
                continue
            shown = stored.replace("\r\n", "\n")
            if isinstance(field.widget, forms.TextInput):
                shown = LINE_BREAK.sub("", shown)
            if stored and data.get(key) == shown:
                data[key] = stored
                field.strip = False

    def _get_validation_exclusions(self) -> set[str]:
        # Django skips unique rules with an excluded field, and all of them contain the tenant.
        return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[misc, no-any-return]

    def clean(self) -> FormValues:
        cleaned = super().clean() or {}
        cleaned |= self._checked_values(cleaned)
        if self.refusal is not None:
            self._add_errors(self.refusal)
        return cleaned

    def _checked_values(self, cleaned: FormValues) -> FormValues:
        """Return the texts among the edited values as the API would store them."""
        changed = cleaned.keys() & self.changed_data if self.instance.pk else cleaned.keys()
        values = {name: as_recorded(cleaned[name]) for name in changed - NOT_IN_SCHEMA_CHECK}
        try:
            checked = check_values(self.schema, values)
        except Problem as problem:
            self._add_errors(problem)
            return {}
        return {name: value for name, value in checked.items() if type(value) is str}

    def _add_errors(self, problem: Problem) -> None:
        for field, sentence in locate_errors(problem, self.fields):
            self.add_error(field, sentence)


def normalize_newlines(data: QueryDict | None) -> QueryDict | None:
    """Replace \\r\\n, as browsers send line breaks, by \\n, as texts are stored.

    Otherwise saving a form unchanged would change its texts.
    """
    if data is None:
        return None
    normalized = data.copy()
    for name, values in data.lists():
        normalized.setlist(name, [value.replace("\r\n", "\n") for value in values])
    return normalized


def locate_errors(
    problem: Problem, fields: Mapping[str, forms.Field]
) -> list[tuple[str | None, str]]:
    """Return (field, sentence) for each error of the problem, with the label of the field as its
    name.

    The field is None for an error to show above the form: one that names none of `fields`.
    """
    located: list[tuple[str | None, str]] = []
    for error in problem.errors:
        path = str(error.get("pointer", "")).removeprefix("#/")
        name = path.partition("/")[0].removesuffix("_id")
        sentence = sentence_of(str(error["code"]), str(error["detail"]))
        if name in fields and (label := fields[name].label):
            rest = sentence.removeprefix(f"“{path}”")
            labelled = gettext("“%(label)s”") % {"label": label}
            sentence = sentence if rest == sentence else labelled + rest
        located.append((name if name in fields else None, sentence))
    return located if any(name for name, _ in located) else [(None, refusal_as_html(problem))]


class PreloadedAutocomplete(AutocompleteSelect):
    """An autocomplete field that shows a row which is loaded already.

    Django's own would load the row of every inline form with a query.
    """

    loaded_row: models.Model | None = None

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        if self.loaded_row is None or value != [str(self.loaded_row.pk)]:
            return super().optgroups(name, value, attr)
        option = self.create_option(name, value[0], str(self.loaded_row), True, 0)
        return [(None, [option], 0)]


class InlineRowForm(RecordedForm):
    """The form of one row of an inline."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            widget = getattr(
                field.widget, "widget", field.widget
            )  # inside the wrapper with the “add another” link
            if isinstance(widget, PreloadedAutocomplete) and self.instance.pk:
                widget.loaded_row = self.instance._state.fields_cache.get(name)
