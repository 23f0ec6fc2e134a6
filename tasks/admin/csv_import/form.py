"""The fields of the page that imports a file, besides those of its columns."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import set_messages
from taskflow.admin.site import FileInput, Select
from taskflow.audit.actor import Actor
from tasks.models import Project, ProjectStatus
from tasks.rules import WRITERS
from tasks.schemas.csv import DateOrder, OnExisting

EXISTING = [
    (OnExisting.REFUSE.value, _("Refuse the file")),
    (OnExisting.UPDATE.value, _("Change the task")),
    (OnExisting.SKIP.value, _("Leave the row out")),
]
DATE_ORDERS = [
    ("", _("2026-12-31 only")),
    (DateOrder.DMY.value, _("31/12/2026")),
    (DateOrder.MDY.value, _("12/31/2026")),
    (DateOrder.YMD.value, _("2026/12/31")),
]


class ImportForm(forms.Form):
    """Which file goes where. `packed` is the file of an earlier request of the page."""

    project: Any = forms.ModelChoiceField(None, widget=Select, label=_("Project"), empty_label=None)
    file = forms.FileField(
        required=False,
        label=_("File"),
        widget=FileInput(attrs={"accept": ".csv,.txt,text/csv"}),
    )
    packed = forms.CharField(required=False, widget=forms.HiddenInput, strip=False)
    on_existing = forms.ChoiceField(
        choices=EXISTING,
        widget=Select,
        required=False,
        label=_("If a row has the key or external id of a task"),
    )
    date_order = forms.ChoiceField(
        choices=DATE_ORDERS, widget=Select, required=False, label=_("Dates are written as")
    )

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_messages(self.fields.values())
        self.fields["project"].queryset = find_writable_projects(actor)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not self.errors and not (values.get("file") or values.get("packed")):
            self.add_error("file", _("Choose a file."))
        return values


def find_writable_projects(actor: Actor) -> models.QuerySet[Project]:
    """Return the projects in which the actor may create tasks, by key."""
    projects = Project.objects.visible_to(actor.viewer).exclude(status=ProjectStatus.ARCHIVED)
    if not actor.is_staff:
        own = models.Q(memberships__user=actor.user.pk, memberships__role__in=WRITERS)
        projects = projects.filter(own)
    return projects.order_by("key")
