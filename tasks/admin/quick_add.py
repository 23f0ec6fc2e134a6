"""The page on which one line of text becomes a task, with a preview of what is understood."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from taskflow.admin.refusals import list_sentences
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values
from tasks.admin.quick_line import QuickTask, parse_quick_add
from tasks.admin.task_page.base import find_refusal, show_refusal
from tasks.admin.task_pages import BELOW_TASKS
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Project, ProjectMember, ProjectStatus, Task
from tasks.queries.references import resolve
from tasks.rules import WRITERS
from tasks.schemas.tasks import TaskCreate

MAX_LINE = 1_000  # characters
LINE, PREVIEW, PROJECT = "line", "preview", "project"  # fields of the form


@dataclass(frozen=True)
class Draft:
    """A line, what it says, and the sentences that keep it from becoming a task."""

    line: str
    task: QuickTask
    problems: tuple[str, ...]


def quick_add(request: HttpRequest) -> HttpResponse:
    """Show the line with what is understood, or create its task and show the empty line again."""
    actor = get_actor(request)
    sent = request.POST if request.method == "POST" else request.GET
    keys = _load_project_keys(actor)
    draft = _read(actor, sent.get(LINE, "")[:MAX_LINE], sent.get(PROJECT, ""), keys)
    if request.method == "POST" and not draft.problems and _create(request, actor, draft.task):
        address = reverse("admin:tasks_task_quick_add")
        return HttpResponseRedirect(f"{address}?{PROJECT}={draft.task.project}")
    is_preview = PREVIEW in request.GET
    context = {
        **({} if is_preview else admin.site.each_context(request)),
        "title": _("Quick add"),
        **BELOW_TASKS,
        "draft": draft,
        "default_project": sent.get(PROJECT, "") if sent.get(PROJECT, "") in keys else "",
        "max_line": MAX_LINE,
        "is_sent": request.method == "POST",
    }
    template = "admin/quick_add_preview.html" if is_preview else "admin/quick_add.html"
    return TemplateResponse(request, template, context)


def _load_project_keys(actor: Actor) -> list[str]:
    """Return the keys of the active projects in which the user may create tasks. One query."""
    rows = Project.objects.visible_to(actor.viewer).filter(status=ProjectStatus.ACTIVE)
    if not actor.is_staff:
        own = ProjectMember.objects.of_viewer(actor.viewer).filter(role__in=WRITERS)
        rows = rows.filter(pk__in=own.values("project_id"))
    return list(rows.order_by("key").values_list("key", flat=True))


def _read(actor: Actor, line: str, default_project: str, keys: list[str]) -> Draft:
    """Read the line. Without a key in it, the project is that of the last task, or the only one."""
    today = actor.tenant.day_of(timezone.now())
    task = parse_quick_add(line, today=today, project_keys=set(keys))
    if task.project is None and (default_project in keys or len(keys) == 1):
        task = replace(task, project=default_project if default_project in keys else keys[0])
    problems = list(task.problems)
    if task.project is None:
        shown = ", ".join(keys[:10])
        problems.append(
            _("Write the key of the project at the end: one of %s.") % shown
            if keys
            else _("There is no active project in which you can create tasks.")
        )
    elif not problems:
        problems = _check(actor, task)
    return Draft(line, task, tuple(problems))


def _check(actor: Actor, task: QuickTask) -> list[str]:
    """Return the sentences that say why the values cannot be those of a task."""
    try:
        resolve(actor, check_values(TaskCreate, _values_of(task)))
    except Problem as problem:
        return list_sentences(problem)
    return []


def _values_of(task: QuickTask) -> dict[str, object]:
    """Return the fields of a new task, as of a body of the API."""
    values = {
        "project": task.project,
        "title": task.title,
        "tags": list(task.tags),
        "blocked_by": list(task.blocked_by),
        "assignee": task.assignee and f"@{task.assignee}",
        "priority": task.priority and task.priority.value,
        "due_on": task.due_on and task.due_on.isoformat(),
    }
    return {name: value for name, value in values.items() if value}


def _create(request: HttpRequest, actor: Actor, task: QuickTask) -> bool:
    """Create the task as POST /tasks does. Return whether it was created."""
    created: list[Task] = []

    def create() -> None:
        values = resolve(actor, check_values(TaskCreate, _values_of(task)))
        created.append(create_tasks(actor, [CreateTask.build(values)])[0])

    if problem := find_refusal(create):
        show_refusal(request, problem)
        return False
    link = reverse("admin:tasks_task_change", args=[created[0].pk])
    text = format_html('<a href="{}">{} {}</a>', link, created[0].key, created[0].title)
    messages.success(request, format_html(_("Added {}."), text))
    return True
