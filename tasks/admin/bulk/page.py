"""The page that changes many tasks: choose the changes, see what they do, make them, undo them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import IntegrityError, models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.admin.recorded import get_actor, to_problem
from taskflow.admin.refusals import Refusal, describe_refusal, refusal_as_html
from taskflow.http.converters import is_id
from taskflow.http.errors import Invalid, Problem
from taskflow.http.files import WrittenFile
from taskflow.http.unavailable import Contended
from tasks.admin.bulk.edit import BulkEdit
from tasks.admin.bulk.form import BulkForm
from tasks.admin.bulk.preview import Preview, build_preview
from tasks.admin.bulk.running import (
    MAX_SHOWN,
    MAX_TASKS,
    Outcome,
    TooManyRefusals,
    make_changes,
)
from tasks.admin.done import report_done
from tasks.admin.task_list import FilteredTaskList
from tasks.csv.writing import csv_response
from tasks.models import Task
from tasks.queries.lookup import find_tasks
from tasks.schemas.csv import CsvFormat

BULK_VIEW = "tasks_task_bulk"
STEPS = {"preview", "make", "edit"}  # the buttons whose requests contain what was chosen


class BulkTaskList(FilteredTaskList):
    """The list of tasks, with the page that changes many of them."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("bulk/", view(self.bulk_view), name=BULK_VIEW),
            path("export/", view(self.export_view), name="tasks_task_export"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest) -> HttpResponse | WrittenFile:
        """Respond with all tasks of the list as CSV. The address has the filters of the list."""
        try:
            tasks = self._select_listed(request)
            return csv_response(get_actor(request), tasks, "tasks.csv", CsvFormat())
        except Problem as problem:
            messages.error(request, refusal_as_html(problem))
            return HttpResponseRedirect(_list_of(request))

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, show the preview (`preview` or `delete`), or make the changes (`make`).
        The form keeps what was chosen when the preview is left.

        The address has the filters of the list. Without a selection, the tasks are all of that
        list. The form then contains their ids, so that exactly these are changed.
        """
        actor = get_actor(request)
        try:
            ids = self._read_ids(request)
            found = find_tasks(actor, map(str, ids)).values()
        except Problem as problem:
            messages.error(request, describe_refusal(problem).sentence)
            return HttpResponseRedirect(_list_of(request))
        tasks = sorted(found, key=lambda task: task.pk)
        if not tasks:
            messages.error(request, _("There are no tasks to change. Select some in the list."))
            return HttpResponseRedirect(_list_of(request))
        is_bound = "delete" not in request.POST and bool(STEPS & request.POST.keys())
        form = BulkForm(actor, request.POST if is_bound else None)
        if _is_deletion(request):
            return self._preview_or_make(request, tasks, form, BulkEdit(is_deletion=True))
        if is_bound and "edit" not in request.POST and form.is_valid():
            return self._preview_or_make(request, tasks, form, form.build_edit())
        return self._show(request, tasks, form)

    def _read_ids(self, request: HttpRequest) -> list[int]:
        """Return the ids of the selected tasks, or of all tasks of the list without a selection.

        Raises Invalid for more than MAX_TASKS, and for text that is no id.
        """
        texts = [text for text in request.POST.get("ids", "").split(",") if text]
        if not texts and request.POST.get("select_across", "0") != "1":
            texts = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(map(is_id, texts)):
            raise Invalid(_("One of the selected tasks does not exist."))
        ids = [int(text) for text in texts] or self._find_listed_ids(request)
        if len(ids) > MAX_TASKS:
            raise Invalid(
                _(
                    "At most %(limit)d tasks can be changed at once, and these are more. Add"
                    " filters to the list, or select some of its tasks."
                )
                % {"limit": MAX_TASKS}
            )
        return ids

    def _find_listed_ids(self, request: HttpRequest) -> list[int]:
        """Return the ids of the tasks of the list with this address, at most one too many."""
        tasks = self._select_listed(request).order_by("pk")
        return list(tasks.values_list("pk", flat=True)[: MAX_TASKS + 1])

    def _select_listed(self, request: HttpRequest) -> models.QuerySet[Task]:
        """Return the tasks of the list with this address. Raises Invalid if it cannot be read."""
        unreadable = self._unreadable_parameter(request)
        try:
            if unreadable:
                raise IncorrectLookupParameters
            changelist: Any = self.get_changelist_instance(request)
            tasks: models.QuerySet[Task] = changelist.get_queryset(request)
        except (IncorrectLookupParameters, DisallowedModelAdminLookup):
            raise Invalid(
                _("The filters of the list cannot be read. Nothing was changed.")
            ) from None
        return tasks

    def _preview_or_make(
        self, request: HttpRequest, tasks: list[Task], form: BulkForm, edit: BulkEdit
    ) -> HttpResponse:
        actor, ids = get_actor(request), [task.pk for task in tasks]
        try:
            if "make" in request.POST:
                skips = request.POST["make"] == "possible"
                outcome = make_changes(actor, ids, edit, skips_refused=skips)
                if outcome.events or not outcome.refused:
                    report_done(request, describe_done(outcome, edit))
                    return HttpResponseRedirect(_list_of(request))
            preview = build_preview(actor, ids, edit)
        except Contended:  # the whole request is answered again
            raise
        except TooManyRefusals:
            refusal = Refusal(_("These tasks depend on each other. Change fewer at once."), [])
            return self._show(request, tasks, form, refusal=refusal)
        except (Problem, IntegrityError) as error:
            refusal = describe_refusal(to_problem(error))
            return self._show(request, tasks, form, refusal=refusal)
        return self._show(request, tasks, form, preview=preview)

    def _show(
        self,
        request: HttpRequest,
        tasks: list[Task],
        form: BulkForm,
        *,
        preview: Preview | None = None,
        refusal: Refusal | None = None,
    ) -> HttpResponse:
        count = len(tasks)
        context = {
            **self.admin_site.each_context(request),
            "title": ngettext("Change %(n)d task", "Change %(n)d tasks", count) % {"n": count},
            "form": form,
            "ids": ",".join(str(task.pk) for task in tasks),
            "tasks": tasks[:MAX_SHOWN],
            "more_tasks": max(0, count - MAX_SHOWN),
            "preview": preview,
            "refusal": refusal,
            "is_deletion": _is_deletion(request),
            "list_address": _list_of(request),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/bulk_tasks.html", context)


def _is_deletion(request: HttpRequest) -> bool:
    return "delete" in request.POST and "edit" not in request.POST


def _list_of(request: HttpRequest) -> str:
    """Return the address of the list from which the page was opened, with its filters."""
    address = reverse("admin:tasks_task_changelist")
    query = request.GET.urlencode()
    return f"{address}?{query}" if query else address


def describe_done(outcome: Outcome, edit: BulkEdit) -> str:
    """Return the message after the changes: how many were made, and how many left out."""
    count = outcome.done_count
    if edit.is_deletion:
        done = ngettext("%(n)d task is in the trash.", "%(n)d tasks are in the trash.", count) % {
            "n": count
        }
    else:
        done = ngettext("%(n)d task is changed.", "%(n)d tasks are changed.", count) % {"n": count}
    parts = [done]
    if outcome.refused:
        left_out = len(outcome.refused)
        parts.append(
            ngettext("%(n)d was left out.", "%(n)d were left out.", left_out) % {"n": left_out}
        )
    return " ".join(parts)
