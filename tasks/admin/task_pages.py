"""What the layouts of tasks have in common: filters, groupings, tabs and refusals."""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from taskflow.admin.refusals import list_sentences
from taskflow.http.converters import is_id
from taskflow.http.errors import Problem
from tasks.admin.addresses import WHERE, list_address
from tasks.admin.tabs import Tab, build_tabs
from tasks.admin.where import apply_where, describe_where
from tasks.models import ProjectStatus, Task, View
from tasks.models.views import BoardGrouping, Layout

GROUP = "group"  # the parameter of the board and the timeline

# The context of a page with which its heading is a path: Tasks, and then the title of the page.
BELOW_TASKS = {"model_admin": SimpleNamespace(model=Task)}


class TaskPage:
    """A page that shows the tasks which the filters in its address select.

    `problem` says why the filters cannot be read. Then the page is refuse().
    """

    def __init__(self, request: HttpRequest, layout: Layout) -> None:
        self.request, self.layout, self.actor = request, layout, get_actor(request)
        self.where = request.GET.get(WHERE, "")
        self.problem: Problem | None = None
        rows = Task.objects.visible_to(self.actor.viewer)
        try:
            self.tasks: QuerySet[Task] = (
                apply_where(self.actor, rows, self.where)
                if self.where
                else rows.exclude(project__status=ProjectStatus.ARCHIVED)
            )
        except Problem as problem:
            self.problem = problem

    @cached_property
    def view(self) -> View | None:
        """The stored view among the filters, if any. One query if there is one."""
        view_id = QueryDict(self.where).get("view", "")
        rows = View.objects.visible_to(self.actor.viewer)
        return rows.filter(pk=view_id).first() if is_id(view_id) else None

    def context(self) -> dict[str, object]:
        """Return the context of the template. One query, for the tabs."""
        return {
            **admin.site.each_context(self.request),
            "tabs": build_tabs(self.actor, self.where, self.layout),
            "filters": describe_where(self.where),
            **BELOW_TASKS,
        }

    def address_with(self, **parameters: str) -> str:
        """Return the address of this page with these parameters in place of those it has."""
        query = self.request.GET.copy()
        for name, value in parameters.items():
            query[name] = value
        return f"{self.request.path}?{query.urlencode()}"

    def grouping(self) -> BoardGrouping:
        """Return the grouping in the address, else that of the view, else the status."""
        sent = self.request.GET.get(GROUP)
        if sent in BoardGrouping.values:
            return BoardGrouping(sent)
        return BoardGrouping(self.view.group_by) if self.view else BoardGrouping.STATUS

    def groupings(self, chosen: BoardGrouping) -> list[Tab]:
        """Return the links to this page with each grouping."""
        return [
            Tab(str(choice.label), self.address_with(**{GROUP: choice.value}), choice == chosen)
            for choice in BoardGrouping
        ]

    def refuse(self) -> HttpResponse:
        return refuse_filters(self.request, self.problem)


def refuse_filters(request: HttpRequest, problem: Problem | None) -> HttpResponse:
    """Answer 400 with the sentence of the problem and a link to all tasks."""
    context = {
        **admin.site.each_context(request),
        "title": _("The tasks cannot be listed"),
        "sentences": list_sentences(problem) if problem else [],
        "address": list_address(),
        **BELOW_TASKS,
    }
    return TemplateResponse(request, "admin/refused_filters.html", context, status=400)
