"""The form of what to change."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues, set_messages
from accounts.models import User
from taskflow.admin.refusals import list_sentences
from taskflow.admin.site import Select, TextInput
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values
from tasks.admin.bulk.edit import BulkEdit
from tasks.models import Outcome, Priority, Project, ProjectStatus, Status, Task
from tasks.schemas.bulk import RemovedTags, TaskTags
from tasks.schemas.tasks import TaskCreate

NOBODY = "none"
KEEP = ("", _("Keep as it is"))
NOTHING_CHOSEN = _("Choose at least one change.")
STATUSES = [
    KEEP,
    *Status.choices,
    (Outcome.CANCELLED.value, _("Cancelled")),
]


class BulkForm(forms.Form):
    """What to change of the selected tasks. Empty fields keep the values of each task."""

    assignee = forms.ChoiceField(required=False, widget=Select, label=_("Assignee"))
    status = forms.ChoiceField(
        required=False, widget=Select, label=_("Status"), choices=lambda: STATUSES
    )
    force = forms.BooleanField(
        required=False, label=_("Complete tasks even if subtasks or blockers are open")
    )
    priority = forms.ChoiceField(
        required=False,
        widget=Select,
        label=_("Priority"),
        choices=lambda: [KEEP, *Priority.choices],
    )
    due_on = forms.DateField(
        required=False,
        label=_("Due on"),
        widget=TextInput(attrs={"type": "date"}),
    )
    remove_due = forms.BooleanField(required=False, label=_("Remove the due date"))
    add_tags = forms.CharField(
        required=False, widget=TextInput, label=_("Add tags"), help_text=_("Separate by commas.")
    )
    remove_tags = forms.CharField(
        required=False, widget=TextInput, label=_("Remove tags"), help_text=_("Separate by commas.")
    )
    project: Any = forms.ModelChoiceField(
        None, required=False, widget=Select, label=_("Move to"), empty_label=str(KEEP[1])
    )

    def __init__(self, actor: Actor, tasks: Collection[Task], *args: Any, **kwargs: Any) -> None:
        """Offer the people who can be assigned to tasks of these projects. Two queries."""
        super().__init__(*args, **kwargs)
        set_messages(self.fields.values())
        self.people = {
            str(user.pk): user
            for user in find_assignable_users(actor, {t.project_id for t in tasks})
        }
        people = [(pk, str(user)) for pk, user in self.people.items()]
        self.fields["assignee"].choices = [KEEP, (NOBODY, _("Nobody")), *people]  # type: ignore[attr-defined]
        projects = Project.objects.visible_to(actor.viewer).exclude(status=ProjectStatus.ARCHIVED)
        self.fields["project"].queryset = projects.order_by("key")  # type: ignore[attr-defined]

    def clean_add_tags(self) -> list[str]:
        return _read_tags(TaskTags, self.cleaned_data["add_tags"])

    def clean_remove_tags(self) -> list[str]:
        return _read_tags(RemovedTags, self.cleaned_data["remove_tags"])

    def clean(self) -> FormValues:
        values = super().clean() or {}
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
            assignee=self.people.get(values["assignee"]),
            is_unassigned=values["assignee"] == NOBODY,
            status=values["status"] or None,
            priority=values["priority"] or None,
            due_on=values["due_on"],
            is_due_removed=values["remove_due"],
            added_tags=values["add_tags"],
            removed_tags=values["remove_tags"],
            force=values["force"],
        )


def find_assignable_users(actor: Actor, project_ids: Collection[int]) -> list[User]:
    """Return the active users who can see one of the projects, by handle. One query."""
    users = User.objects.visible_to(actor.viewer).active()
    members = users.filter(memberships__project__in=sorted(project_ids))
    return list((users.filter(is_staff=True) | members).distinct().order_by("handle"))


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
