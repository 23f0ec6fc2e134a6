"""The views of a task's page. TaskAdmin extends this class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_http_methods

from accounts.admin.recorded import get_actor
from tasks.admin.rendered import RenderedAdmin
from tasks.admin.task_page.base import load_task
from tasks.admin.task_page.comments import show_comments
from tasks.admin.task_page.head import build_head
from tasks.admin.task_page.moving import show_move
from tasks.admin.task_page.related import show_links
from tasks.admin.task_page.subtasks import show_subtasks
from tasks.admin.task_page.verbs import carry_out_verb
from tasks.models import Task

VIEWS = {  # by name: the methods that it accepts
    "subtasks": ["GET", "HEAD", "POST"],
    "comments": ["GET", "HEAD", "POST"],
    "links": ["GET", "HEAD"],
    "verb": ["POST"],
    "move": ["GET", "HEAD", "POST"],
}


class TaskPageAdmin(RenderedAdmin):
    """The heading, the buttons and the tabs of a task, and the verbs behind the buttons."""

    change_form_outer_before_template = "admin/task_page/details.html"
    change_form_outer_after_template = "admin/task_page/new_comment.html"
    rendered_field = "description"

    def get_urls(self) -> list[URLPattern]:
        own = []
        for name, methods in VIEWS.items():
            view: Callable[..., HttpResponse] = getattr(self, f"{name}_view")
            wrapped = self.admin_site.admin_view(require_http_methods(methods)(view))
            own.append(path(f"<str:object_id>/{name}/", wrapped, name=f"tasks_task_{name}"))
        return [*own, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        task = kwargs.get("obj")
        if task is not None:
            context |= self._page_context(request, task, "change")
        return super().render_change_form(request, context, *args, **kwargs)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = self._page_context(request, load_task(request, object_id), "history")
        return super().history_view(request, object_id, context)

    def subtasks_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task = load_task(request, object_id)
        context = self._page_context(request, task, "subtasks")
        can_change = self._require_right_to_post(request, task)
        return show_subtasks(request, task, context, can_change=can_change)

    def comments_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task = load_task(request, object_id)
        context = self._page_context(request, task, "comments")
        can_change = self._require_right_to_post(request, task)
        return show_comments(request, task, context, can_change=can_change)

    def links_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task = load_task(request, object_id)
        return show_links(request, task, self._page_context(request, task, "links"))

    def verb_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task = load_task(request, object_id)
        self._require_right_to_post(request, task)
        return carry_out_verb(request, task, self._page_context(request, task, "change"))

    def move_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task = load_task(request, object_id)
        if not self.has_change_permission(request, task):
            raise PermissionDenied
        return show_move(request, task, self._page_context(request, task, "change"))

    def _require_right_to_post(self, request: HttpRequest, task: Task) -> bool:
        """Return whether the user may change the task. Raises PermissionDenied for a POST if not.

        The actions check it again, with the rows locked.
        """
        can_change: bool = self.has_change_permission(request, task)
        if request.method == "POST" and not can_change:
            raise PermissionDenied
        return can_change

    def _page_context(self, request: HttpRequest, task: Task, tab: str) -> dict[str, object]:
        """Return what all tabs show. One query."""
        head = build_head(
            get_actor(request),
            task,
            tab,
            can_change=self.has_change_permission(request, task),
            can_delete=self.has_delete_permission(request, task),
        )
        return {
            **self.admin_site.each_context(request),
            "title": f"{task.key} {task.title}",
            "opts": self.opts,
            "original": task,
            "head": head,
            "head_template": "admin/task_page/head.html",
        }
