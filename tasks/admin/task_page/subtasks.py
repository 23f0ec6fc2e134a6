"""The subtasks of a task, with a form of one line for a new one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as translate

from accounts.admin.recorded import get_actor
from taskflow.http.parsing import check_values
from tasks.admin.task_page.base import find_refusal, get_page, show_refusal
from tasks.admin.task_page.head import label_of_status, task_address
from tasks.changes.tasks import create_task
from tasks.models import Task
from tasks.schemas.tasks import TaskCreate


def show_subtasks(
    request: HttpRequest, task: Task, context: dict[str, object], *, can_change: bool
) -> HttpResponse:
    """Show the subtasks, oldest first (GET), or add one (POST). Three queries for any number."""
    if request.method == "POST":
        problem = find_refusal(lambda: _add(request, task))
        if problem is None:
            return HttpResponseRedirect(task_address(task, "subtasks"))
        show_refusal(request, problem)
    rows = Task.objects.filter(parent=task).select_related("project", "assignee").order_by("pk")
    page = get_page(request, rows)
    shown = {
        "page": page,
        "subtasks": [(subtask, label_of_status(subtask)) for subtask in page],
        "can_add": can_change,
        "typed": request.POST.get("title", ""),
    }
    return TemplateResponse(
        request,
        "admin/task_page/subtasks.html",
        context | shown,
        status=422 if request.method == "POST" else 200,
    )


def _add(request: HttpRequest, task: Task) -> None:
    values = check_values(TaskCreate, {"title": request.POST.get("title", "")})
    subtask = create_task(get_actor(request), task.project, title=values["title"], parent=task)
    messages.success(request, translate("%(key)s was added.") % {"key": subtask.key})
