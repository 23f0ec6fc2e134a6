"""The page that lists the keys of the admin. The keys themselves are in shortcuts.js."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tasks.admin.task_pages import BELOW_TASKS

SHORTCUTS = (
    ("c", gettext_lazy("Add a task with one line")),
    ("Ctrl K, ⌘ K", gettext_lazy("Search tasks, projects, pages, people and actions")),
    ("/", gettext_lazy("Search in the list")),
    ("g h", gettext_lazy("Go to the first page")),
    ("g t", gettext_lazy("Go to the list of tasks")),
    ("g b", gettext_lazy("Go to the board")),
    ("g c", gettext_lazy("Go to the calendar")),
    ("g l", gettext_lazy("Go to the timeline")),
    ("g p", gettext_lazy("Go to the projects")),
    ("?", gettext_lazy("Show this page")),
)


def shortcuts(request: HttpRequest) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": _("Keyboard shortcuts"),
        "shortcuts": [(keys.split(", "), sentence) for keys, sentence in SHORTCUTS],
        **BELOW_TASKS,
    }
    return TemplateResponse(request, "admin/shortcuts.html", context)
