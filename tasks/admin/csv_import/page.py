"""The page that imports a CSV file: choose it, see what would happen, import it, undo it."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib import admin
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.admin.recorded import get_actor, to_problem
from taskflow.admin.refusals import describe_refusal, sentence_of
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from taskflow.http.unavailable import Contended
from tasks.admin.addresses import list_address
from tasks.admin.choices import find_writable_projects
from tasks.admin.csv_import.form import ImportForm
from tasks.admin.csv_import.mapping import (
    CHOICES,
    LABELS,
    ShownColumn,
    build_map,
    describe_columns,
    list_ignored,
)
from tasks.admin.csv_import.upload import pack, read_upload, unpack
from tasks.admin.done import report_done
from tasks.csv.importing import import_table
from tasks.csv.reading import read_table
from tasks.csv.report import report_import
from tasks.csv.tables import HINTS, Table
from tasks.schemas.csv import DateOrder, ImportOptions, OnExisting, Unmapped

IMPORT_VIEW = "tasks_csv_import"
MAX_SHOWN_ERRORS = 100
BAD_ROWS = "bad_rows"


class RowError(NamedTuple):
    """A cell that is refused."""

    row: int  # as a spreadsheet numbers it
    column: str
    sentence: str


class Trial(NamedTuple):
    """What the import would do."""

    report: dict[str, object] | None  # ImportResult; None if the file is refused
    sentence: str = ""  # why the file is refused, if that is not about single cells
    errors: tuple[RowError, ...] = ()
    more_errors: int = 0


def import_csv(request: HttpRequest) -> HttpResponse:
    """Show the form, or what the file would do; or import it (POST with `import`).

    The trial is the import itself, which is rolled back.
    """
    actor = get_actor(request)
    is_post = request.method == "POST"
    initial = {} if is_post else {"project": _suggest_project(request)}
    form = ImportForm(
        actor, request.POST if is_post else None, request.FILES or None, initial=initial
    )
    if not (is_post and form.is_valid()):
        return _show(request, form)
    values = form.cleaned_data
    try:
        text = read_upload(values["file"].read()) if values["file"] else unpack(values["packed"])
        table = read_table(text)
    except Problem as problem:
        return _show(request, form, trial=Trial(None, describe_refusal(problem).sentence))
    chosen = {} if values["file"] else request.POST.dict()
    columns = describe_columns(table, chosen)
    # A new file is shown first: nobody has seen what it does.
    is_trial = "import" not in request.POST or bool(values["file"])
    trial = _run(actor, table, columns, values, is_trial=is_trial)
    if trial.report is not None and not is_trial:
        report_done(request, describe_import(trial.report))
        return HttpResponseRedirect(list_address(project=values["project"].key))
    return _show(request, form, columns=columns, trial=trial, packed=pack(text), table=table)


def _suggest_project(request: HttpRequest) -> object:
    """Return the id of the project in the address, or of the first by key. At most one query."""
    projects = find_writable_projects(get_actor(request))
    return request.GET.get("project") or projects.values_list("pk", flat=True).first()


def _run(
    actor: Actor,
    table: Table,
    columns: list[ShownColumn],
    values: dict[str, Any],
    *,
    is_trial: bool,
) -> Trial:
    """Import the table, and take it back again if it is a trial or refused."""
    options: dict[str, Any] = {
        "on_existing": OnExisting(values["on_existing"] or OnExisting.REFUSE),
        "map": build_map(columns),
        "ignore": list_ignored(columns),
        "unmapped": Unmapped.IGNORE,
    }
    if values["date_order"]:
        options["date_order"] = DateOrder(values["date_order"])
    try:
        with transaction.atomic():
            run = import_table(
                actor, values["project"], table, ImportOptions.model_validate(options)
            )
            report = report_import(run)
            transaction.set_rollback(is_trial)
    except Contended:  # the whole request is answered again
        raise
    except (Problem, IntegrityError) as error:
        return _describe_refusal(to_problem(error))
    return Trial(report)


def _describe_refusal(problem: Problem) -> Trial:
    if problem.code != BAD_ROWS:
        return Trial(None, describe_refusal(problem).sentence)
    errors = tuple(
        RowError(
            int(str(error["row"])),
            str(error.get("column") or ""),
            sentence_of(str(error["code"]), _without_hint(str(error["detail"]))),
        )
        for error in problem.errors[:MAX_SHOWN_ERRORS]
    )
    return Trial(None, "", errors, max(0, len(problem.errors) - MAX_SHOWN_ERRORS))


def _without_hint(detail: str) -> str:
    """Return the sentence without what only a request can do about it."""
    for hint in HINTS.values():
        detail = detail.removesuffix(hint)
    return detail


def describe_import(report: dict[str, object]) -> str:
    """Return the message after an import: what has become of the rows."""
    parts = [
        ngettext("%(n)d task is created.", "%(n)d tasks are created.", _count(report, "created"))
        % {"n": report["created"]}
    ]
    others = {
        "updated": _("%(n)d are changed."),
        "unchanged": _("%(n)d are as in the file already."),
        "skipped": _("%(n)d rows are left out."),
    }
    parts += [text % {"n": report[name]} for name, text in others.items() if report[name]]
    return " ".join(parts)


def _count(report: dict[str, object], name: str) -> int:
    return int(str(report[name]))


def _show(
    request: HttpRequest,
    form: ImportForm,
    *,
    columns: list[ShownColumn] | None = None,
    trial: Trial | None = None,
    packed: str = "",
    table: Table | None = None,
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": _("Import tasks from CSV"),
        "form": form,
        "columns": columns,
        "choices": [(target, LABELS.get(target, target)) for target in CHOICES],
        "trial": trial,
        "summary": describe_import(trial.report) if trial and trial.report else "",
        "packed": packed,
        "row_count": len(table.rows) if table else 0,
    }
    return TemplateResponse(request, "admin/import_csv.html", context)


site: Any = admin.site
site.add_page("import/", import_csv, IMPORT_VIEW)
