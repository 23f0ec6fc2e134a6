"""The comments of a task: rendered, with a form for a new one and one to edit an own one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as translate

from accounts.admin.recorded import get_actor
from taskflow.audit.actor import Actor
from taskflow.http.errors import Invalid, PreconditionFailed
from taskflow.http.parsing import check_values
from taskflow.http.preconditions import Precondition
from tasks.actions import comments as actions
from tasks.admin.markdown import render_texts
from tasks.admin.task_page.base import find_refusal, get_page, show_refusal
from tasks.admin.task_page.head import task_address
from tasks.models import Comment, Task
from tasks.queries.lookup import find_rows, read_id
from tasks.rules import MANAGERS
from tasks.schemas.comments import CommentCreate


@dataclass(frozen=True)
class ShownComment:
    """A comment as the page shows it."""

    row: Comment
    html: SafeString
    can_edit: bool
    can_delete: bool


def show_comments(
    request: HttpRequest, task: Task, context: dict[str, object], *, can_change: bool
) -> HttpResponse:
    """Show the comments, newest first (GET), or add, change or delete one (POST).

    Five queries for any number of comments, and those of find_references().
    """
    typed, is_conflict = "", False
    if request.method == "POST":
        problem = find_refusal(lambda: _change(request, task))
        if problem is None:
            return HttpResponseRedirect(task_address(task, "comments"))
        show_refusal(request, problem)
        typed = request.POST.get("body", "")
        is_conflict = isinstance(problem, PreconditionFailed)
    rows = Comment.objects.filter(task=task).select_related("author").order_by("-id")
    page = get_page(request, rows)
    edited_id = read_id(request.POST.get("comment", "") or request.GET.get("edit", ""))
    shown = {
        "page": page,
        "comments": _show(get_actor(request), task, list(page), can_change=can_change),
        "can_comment": can_change,
        "edited_id": edited_id,
        "opened_version": read_id(request.POST.get("version", "")),
        "is_conflict": is_conflict,
        "typed": typed,
    }
    return TemplateResponse(
        request,
        "admin/task_page/comments.html",
        context | shown,
        status=422 if request.method == "POST" else 200,
    )


def _show(
    actor: Actor, task: Task, comments: list[Comment], *, can_change: bool
) -> list[ShownComment]:
    is_manager = actor.is_staff or task.project.get_loaded_role(actor.user.pk) in MANAGERS
    texts = render_texts(actor, [comment.body for comment in comments], task.project_id)
    shown = []
    for comment, html in zip(comments, texts, strict=True):
        is_own = comment.author_id == actor.user.pk
        can_edit, can_delete = can_change and is_own, can_change and (is_own or is_manager)
        shown.append(ShownComment(comment, html, can_edit, can_delete))
    return shown


# ---- changes ------------------------------------------------------------------------------------


def _change(request: HttpRequest, task: Task) -> None:
    """Do what the pressed button says. Raises Http404 for another one."""
    change = CHANGES.get(request.POST.get("do", ""))
    if change is None:
        raise Http404
    change(request, task)


def _add(request: HttpRequest, task: Task) -> None:
    actions.create_comment(get_actor(request), task, body=_read_body(request))
    messages.success(request, translate("Your comment was added."))


def _edit(request: HttpRequest, task: Task) -> None:
    """Replace the text of an own comment, unless it was changed since the form was opened."""
    _replace(request, task, "version")


def _overwrite(request: HttpRequest, task: Task) -> None:
    """Replace the text that the form has shown as the newer one."""
    _replace(request, task, "newer_version")


def _replace(request: HttpRequest, task: Task, version_field: str) -> None:
    comment = _find_comment(request, task)
    version = read_id(request.POST.get(version_field, ""))
    actor = get_actor(request)
    if version is not None:
        actor = replace(actor, precondition=Precondition("comment", comment.pk, version))
    actions.update_comment(actor, comment, body=_read_body(request))
    messages.success(request, translate("Your comment was changed."))


def _delete(request: HttpRequest, task: Task) -> None:
    actions.delete_comment(get_actor(request), _find_comment(request, task))
    messages.success(request, translate("The comment is in the trash, and can be restored there."))


CHANGES: dict[str, Callable[[HttpRequest, Task], None]] = {
    "add": _add,
    "edit": _edit,
    "overwrite": _overwrite,
    "delete": _delete,
}


def _find_comment(request: HttpRequest, task: Task) -> Comment:
    """Return the visible comment of the task that the form names. Raises Http404."""
    comment_id = read_id(request.POST.get("comment", "")) or 0
    comment = find_rows(get_actor(request), Comment, [comment_id]).get(comment_id)
    if comment is None or comment.task_id != task.pk:
        raise Http404
    return comment


def _read_body(request: HttpRequest) -> str:
    """Return the text of the form as the API would store it. Raises Problem."""
    body = request.POST.get("body", "").replace("\r\n", "\n")
    if not body.strip():
        raise Invalid.field("body", translate("Write a text first."))
    text: str = check_values(CommentCreate, {"body": body})["body"]
    return text
