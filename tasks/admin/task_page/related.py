"""What a task is linked with: its parent, the tasks before and after it, and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.admin.recorded import get_actor
from taskflow.audit.actor import Actor
from taskflow.http.schema import is_web_url
from tasks.admin.task_page.head import label_of_status
from tasks.models import Task

MAX_ROWS = 200  # of each list


@dataclass(frozen=True)
class Relation:
    """Tasks that have one relation to the task."""

    label: Promise
    rows: Sequence[tuple[Task, tuple[str, str]]]  # each with its status and the color of that
    hidden_count: int  # tasks that the user cannot see


def show_links(request: HttpRequest, task: Task, context: dict[str, object]) -> HttpResponse:
    """Show the related tasks and the links. Seven queries for any number of them."""
    actor = get_actor(request)
    tasks = Task.objects.outside_trash()
    relations = [
        _relate(actor, _("Parent"), tasks.filter(subtasks=task)),
        _relate(actor, _("Blocked by"), tasks.filter(blocking=task)),
        _relate(actor, _("Blocks"), tasks.filter(blocked_by=task)),
    ]
    shown = {
        "relations": relations,
        "links": [link for link in task.links if is_web_url(str(link["url"]))],
        "is_empty": not task.links and not any(r.rows or r.hidden_count for r in relations),
    }
    return TemplateResponse(request, "admin/task_page/links.html", context | shown)


def _relate(actor: Actor, label: Promise, tasks: QuerySet[Task]) -> Relation:
    visible = Task.objects.visible_to(actor.viewer).filter(pk__in=tasks.values("pk"))
    rows = list(visible.select_related("project", "assignee").order_by("pk")[:MAX_ROWS])
    hidden = tasks.count() - len(rows) if len(rows) < MAX_ROWS else 0
    return Relation(label, [(row, label_of_status(row)) for row in rows], hidden)
