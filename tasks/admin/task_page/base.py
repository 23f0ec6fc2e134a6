"""What the views of a task's page share: how they find the task, and how they show a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db import IntegrityError, models, transaction
from django.http import Http404, HttpRequest

from accounts.admin.recorded import get_actor, to_problem
from taskflow.admin.refusals import refusal_as_html
from taskflow.http.errors import NotFound, Problem
from taskflow.http.unavailable import Contended
from tasks.models import Task
from tasks.queries.lookup import find_row, read_id

M = TypeVar("M", bound=models.Model)
PAGE_SIZE = 50  # rows of a tab


def load_task(request: HttpRequest, object_id: str) -> Task:
    """Return the visible task with this id, with its project and assignee.

    One query. Raises Http404 for a task that the user cannot see, and for text that is no id.
    """
    task_id = read_id(object_id)
    if task_id is None:
        raise Http404
    try:
        return find_row(get_actor(request), Task, task_id)
    except NotFound:
        raise Http404 from None


def find_refusal(change: Callable[[], object]) -> Problem | None:
    """Carry out a change. Return the problem with which it was refused, or None.

    A refused change leaves nothing behind.
    """
    try:
        with transaction.atomic():
            change()
    except Contended:  # the whole request is answered again
        raise
    except (Problem, IntegrityError) as error:
        return to_problem(error)
    return None


def show_refusal(request: HttpRequest, problem: Problem) -> None:
    """Add the sentences of a problem, with links to the tasks it names, to the next page."""
    messages.error(request, refusal_as_html(problem))


def get_page(request: HttpRequest, rows: models.QuerySet[M]) -> Page[M]:
    """Return the page of the rows that the address names, the first one if it names none."""
    return Paginator(rows, PAGE_SIZE).get_page(request.GET.get("p"))
