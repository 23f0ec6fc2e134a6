"""The fields of the page that imports a file, besides those of its columns."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import set_messages
from taskflow.admin.site import FileInput, Select
from taskflow.audit.actor import Actor
from tasks.admin.labels import PROJECT_COLUMN, RowChoiceField, offer_rows
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

    project: Any = RowChoiceField(PROJECT_COLUMN, "writable_projects", label=_("Project"))
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
        offer_rows(self, actor)
        set_messages(self.fields.values())

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not self.errors and not (values.get("file") or values.get("packed")):
            self.add_error("file", _("Choose a file."))
        return values
