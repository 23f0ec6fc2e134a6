"""The list of tasks in the admin: what links to it can select, and what stands above it."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from accounts.admin.recorded import get_actor
from taskflow.http.errors import Problem
from tasks.admin.addresses import WHERE
from tasks.admin.board import board
from tasks.admin.calendar import calendar
from tasks.admin.quick_add import quick_add
from tasks.admin.shortcuts import shortcuts
from tasks.admin.tabs import build_tabs
from tasks.admin.task_pages import refuse_filters
from tasks.admin.timeline import timeline
from tasks.admin.trash import TrashableAdmin
from tasks.admin.where import WhereFilter, add_panel_filters, apply_where, describe_where
from tasks.models import Project, Task, TaskCountDelta
from tasks.models.views import Layout


class FilteredTaskList(TrashableAdmin):
    """A list of tasks that also takes the filters of GET /tasks, in the parameter `where`.

    The board, the calendar and the timeline show the same tasks.
    """

    list_before_template = "admin/task_list_before.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("board/", view(board), name="tasks_task_board"),
            path("calendar/", view(calendar), name="tasks_task_calendar"),
            path("timeline/", view(timeline), name="tasks_task_timeline"),
            path("quick-add/", view(quick_add), name="tasks_task_quick_add"),
            path("shortcuts/", view(shortcuts), name="tasks_task_shortcuts"),
            *super().get_urls(),
        ]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), WhereFilter]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Task]:
        tasks = super().get_queryset(request)
        if request.method == "GET" and _is_list(request):
            tasks = tasks.defer(*NOT_SHOWN)
        where = _where_of(request)
        return apply_where(get_actor(request), tasks, where) if where else tasks

    def get_paginator(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Paginator[Any]:
        """Take the number of all tasks from the stored counts. Only other numbers are counted."""
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        if _shows_all_tasks(request):
            projects = Project.objects.visible_to(get_actor(request).viewer)
            paginator.count = TaskCountDelta.count_tasks(projects)
        return paginator

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer 400 with a sentence for filters that GET /tasks would refuse."""
        where = _where_of(request)
        try:
            if where:
                apply_where(get_actor(request), Task.objects.all(), where)
        except Problem as problem:
            return refuse_filters(request, problem)
        context = {
            **(kwargs.pop("extra_context", None) or {}),
            "filters": describe_where(where),
            "tabs": build_tabs(
                get_actor(request),
                add_panel_filters(get_actor(request), where, request.GET),
                Layout.LIST,
            ),
        }
        return super().changelist_view(request, *args, extra_context=context, **kwargs)


# Columns that may be long, and that no column of the list shows.
NOT_SHOWN = [
    *("description", "description_words", "title_words", "title_folded", "links", "metadata"),
    *("project__description", "project__metadata"),
]
ORDER_AND_PAGE = {ORDER_VAR, PAGE_VAR, ALL_VAR}  # parameters that select no tasks
# Their addresses have the filters.
LIST_PAGES = ("tasks_task_changelist", "tasks_task_bulk", "tasks_task_export")


def _shows_all_tasks(request: HttpRequest) -> bool:
    """Return whether the request is for the list of tasks without any filter."""
    return request.method == "GET" and _is_list(request) and request.GET.keys() <= ORDER_AND_PAGE


def _is_list(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.url_name == "tasks_task_changelist"


def _where_of(request: HttpRequest) -> str:
    """Return the filters in the address of the list of tasks; empty on other pages."""
    match = request.resolver_match
    is_list = match is not None and match.url_name in LIST_PAGES
    return request.GET.get(WHERE, "") if is_list else ""
