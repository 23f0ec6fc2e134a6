"""The list of tasks in the admin: what links to it can select, and what stands above it."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.admin.recorded import get_actor
from taskflow.http.errors import Problem
from tasks.admin.addresses import WHERE, list_address
from tasks.admin.trash import TrashableAdmin
from tasks.admin.where import WhereFilter, apply_where, describe_where
from tasks.models import Task


class FilteredTaskList(TrashableAdmin):
    """A list of tasks that also takes the filters of GET /tasks, in the parameter `where`."""

    list_before_template = "admin/task_list_before.html"

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), WhereFilter]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Task]:
        tasks = super().get_queryset(request)
        where = _where_of(request)
        return apply_where(get_actor(request), tasks, where) if where else tasks

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer 400 with a sentence for filters that GET /tasks would refuse."""
        where = _where_of(request)
        try:
            if where:
                apply_where(get_actor(request), Task.objects.all(), where)
        except Problem as problem:
            return self._refuse_filters(request, problem)
        context = {**(kwargs.pop("extra_context", None) or {}), "filters": describe_where(where)}
        return super().changelist_view(request, *args, extra_context=context, **kwargs)

    def _refuse_filters(self, request: HttpRequest, problem: Problem) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "The tasks cannot be listed",
            "problem": problem,
            "address": list_address(),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/refused_filters.html", context, status=400)


LIST_PAGES = ("tasks_task_changelist", "tasks_task_bulk")  # their addresses have the filters


def _where_of(request: HttpRequest) -> str:
    """Return the filters in the address of the list of tasks; empty on other pages."""
    match = request.resolver_match
    is_list = match is not None and match.url_name in LIST_PAGES
    return request.GET.get(WHERE, "") if is_list else ""
