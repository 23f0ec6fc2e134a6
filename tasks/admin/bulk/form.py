"""The form of what to change."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues, set_messages
from taskflow.admin.refusals import list_sentences
from taskflow.admin.site import Select, TextInput
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values
from tasks.admin.bulk.edit import BulkEdit
from tasks.admin.labels import PROJECT_COLUMN, USER_COLUMN, RowChoiceField, offer_rows
from tasks.models import Outcome, Priority, Status
from tasks.schemas.bulk import RemovedTags, TaskTags
from tasks.schemas.tasks import TaskCreate

KEEP = ("", _("Keep as it is"))
NOTHING_CHOSEN = _("Choose at least one change.")
STATUSES = [
    KEEP,
    *Status.choices,
    (Outcome.CANCELLED.value, _("Cancelled")),
]


class BulkForm(forms.Form):
    """What to change of the selected tasks. Empty fields keep the values of each task."""

    assignee: Any = RowChoiceField(
        USER_COLUMN, "active_users", required=False, label=_("Assignee"), placeholder=KEEP[1]
    )
    remove_assignee = forms.BooleanField(required=False, label=_("Assign to nobody"))
    status = forms.ChoiceField(
        required=False, widget=Select, label=_("Status"), choices=lambda: STATUSES
    )
    force = forms.BooleanField(
        required=False, label=_("Complete tasks even if subtasks or blockers are open")
    )
    due_on = forms.DateField(
        required=False,
        label=_("Due on"),
        widget=TextInput(attrs={"type": "date"}),
    )
    remove_due = forms.BooleanField(required=False, label=_("Remove the due date"))
    priority = forms.ChoiceField(
        required=False,
        widget=Select,
        label=_("Priority"),
        choices=lambda: [KEEP, *Priority.choices],
    )
    project: Any = RowChoiceField(
        PROJECT_COLUMN,
        "unarchived_projects",
        required=False,
        label=_("Move to"),
        placeholder=KEEP[1],
    )
    add_tags = forms.CharField(
        required=False, widget=TextInput, label=_("Add tags"), help_text=_("Separate by commas.")
    )
    remove_tags = forms.CharField(
        required=False, widget=TextInput, label=_("Remove tags"), help_text=_("Separate by commas.")
    )

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer_rows(self, actor)
        set_messages(self.fields.values())

    def clean_add_tags(self) -> list[str]:
        return _read_tags(TaskTags, self.cleaned_data["add_tags"])

    def clean_remove_tags(self) -> list[str]:
        return _read_tags(RemovedTags, self.cleaned_data["remove_tags"])

    def clean(self) -> FormValues:
        values = super().clean() or {}
        if values.get("assignee") and values.get("remove_assignee"):
            self.add_error("remove_assignee", _("Choose a user, or nobody, not both."))
        if values.get("due_on") and values.get("remove_due"):
            self.add_error("remove_due", _("Choose a day, or remove the due date, not both."))
        if values.get("due_on"):
            _check(TaskCreate, {"due_on": values["due_on"].isoformat()})
        if not self.errors and not any(v for name, v in values.items() if name != "force"):
            raise forms.ValidationError(NOTHING_CHOSEN)
        return values

    def build_edit(self) -> BulkEdit:
        """Return the changes of a valid form."""
        values = self.cleaned_data
        return BulkEdit(
            project=values["project"],
            assignee=values["assignee"],
            is_unassigned=values["remove_assignee"],
            status=values["status"] or None,
            priority=values["priority"] or None,
            due_on=values["due_on"],
            is_due_removed=values["remove_due"],
            added_tags=values["add_tags"],
            removed_tags=values["remove_tags"],
            force=values["force"],
        )


def _read_tags(schema: type[Any], text: str) -> list[str]:
    """Return the names in a text with commas. Raises ValidationError for a name that cannot be."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names:
        _check(schema, {"tags": names})
    return names


def _check(schema: type[Any], values: dict[str, object]) -> None:
    """Raise ValidationError with the sentence of the API for values that it would refuse."""
    try:
        check_values(schema, values)
    except Problem as problem:
        raise forms.ValidationError(list_sentences(problem)) from None
