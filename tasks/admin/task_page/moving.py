"""The page that moves a task to another project."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import set_messages
from accounts.admin.recorded import get_actor
from taskflow.admin.refusals import refusal_as_html
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from tasks.admin.done import report_done
from tasks.admin.labels import PROJECT_COLUMN, RowChoiceField, offer_rows
from tasks.admin.task_page.base import find_refusal
from tasks.admin.task_page.head import task_address
from tasks.changes.tasks import move_task
from tasks.models import Project, Task


class MoveForm(forms.Form):
    project: Any = RowChoiceField(
        PROJECT_COLUMN,
        "unarchived_projects",
        label=_("Project"),
        placeholder=_("Choose a project"),
    )

    def __init__(self, actor: Actor, task: Task, *args: Any) -> None:
        super().__init__(*args)
        offer_rows(self, actor)
        set_messages(self.fields.values())
        self.task = task

    def clean_project(self) -> Project:
        project: Project = self.cleaned_data["project"]
        if project.pk == self.task.project_id:
            raise forms.ValidationError(translate("The task is in this project already."))
        return project


def show_move(request: HttpRequest, task: Task, context: dict[str, object]) -> HttpResponse:
    """Show the form (GET), or move the task to the chosen project (POST)."""
    actor = get_actor(request)
    form = MoveForm(actor, task, *([request.POST] if request.method == "POST" else []))
    former_key = task.key
    if form.is_bound and form.is_valid():
        project = form.cleaned_data["project"]
        problem = find_refusal(lambda: move_task(actor, task, project))
        if problem is None:
            moved = {"former": former_key, "project": project.name, "key": task.key}
            sentence = translate("%(former)s was moved to “%(project)s” and is now %(key)s.")
            report_done(request, sentence % moved)
            return HttpResponseRedirect(task_address(task))
        _add_errors(form, problem)
    title = translate("Move %(key)s") % {"key": former_key}
    shown = {"title": title, "form": form, "task": task, "address": task_address(task)}
    return TemplateResponse(request, "admin/task_page/move.html", context | shown)


def _add_errors(form: MoveForm, problem: Problem) -> None:
    form.add_error(None, refusal_as_html(problem))
