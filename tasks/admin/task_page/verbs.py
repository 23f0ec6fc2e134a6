"""The buttons of a task. Each carries out one change of the API, and shows why it was refused."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from accounts.admin.recorded import get_actor
from taskflow.audit.actor import Actor
from taskflow.http.errors import Forbidden, Problem
from tasks.admin.done import report_done
from tasks.admin.task_page.base import find_refusal, show_refusal
from tasks.admin.task_page.head import task_address
from tasks.changes import tasks as actions
from tasks.models import Status, Task
from tasks.queries.lookup import find_rows

# What is refused unless the user says so once more: the heading, and the label of the button.
FORCIBLE: dict[str, tuple[Promise, Promise]] = {
    "open_work": (_("Some work is still open"), _("Complete anyway")),
    "parent_done": (_("The parent is done"), _("Reopen anyway")),
}


def complete(actor: Actor, task: Task, *, force: bool) -> str:
    """Complete the task. Return the sentence for the user."""
    actions.complete_task(actor, task, force=force)
    return translate("%(key)s is completed.") % {"key": task.key}


def reopen(actor: Actor, task: Task, *, force: bool) -> str:
    """Reopen the task. Return the sentence for the user."""
    actions.reopen_task(actor, task, force=force)
    return translate("%(key)s is open again.") % {"key": task.key}


def start(actor: Actor, task: Task, *, force: bool) -> str:
    """Set the task to in progress. Return the sentence for the user."""
    actions.update_task(actor, task, status=Status.IN_PROGRESS, force=force)
    return translate("%(key)s is in progress.") % {"key": task.key}


def assign(actor: Actor, task: Task, *, force: bool) -> str:
    """Assign the task to the user. Return the sentence for the user.

    Raises Forbidden for an operator: nobody would be the assignee.
    """
    if actor.member is None:
        raise Forbidden(
            translate("An operator has no user in the tenant, so no task can be assigned to you.")
        )
    actions.assign_task(actor, task, actor.member)
    return translate("%(key)s is assigned to you.") % {"key": task.key}


VERBS: dict[str, Callable[..., str]] = {
    "complete": complete,
    "reopen": reopen,
    "start": start,
    "assign": assign,
}


def carry_out_verb(request: HttpRequest, task: Task, context: dict[str, object]) -> HttpResponse:
    """Carry out the verb of the button that was pressed, and return to the task.

    A verb that open work or a done parent prevents gets a page that lists them. It offers to do it
    anyway. Raises Http404 for an unknown verb.
    """
    verb = VERBS.get(request.POST.get("verb", ""))
    if verb is None:
        raise Http404
    sentences: list[str] = []
    force = "force" in request.POST
    actor = get_actor(request)
    problem = find_refusal(lambda: sentences.append(verb(actor, task, force=force)))
    if problem is None:
        report_done(request, sentences[0])
    elif problem.code in FORCIBLE:
        return _offer_force(request, task, problem, context)
    else:
        show_refusal(request, problem)
    return HttpResponseRedirect(task_address(task))


def _offer_force(
    request: HttpRequest, task: Task, problem: Problem, context: dict[str, object]
) -> HttpResponse:
    title, label = FORCIBLE[problem.code]
    open_tasks = _find_open_tasks(get_actor(request), task, problem)
    named = {other.pk for other, _ in open_tasks}
    return TemplateResponse(
        request,
        "admin/task_page/refused.html",
        context
        | {
            "title": title,
            "task": task,
            "verb": request.POST["verb"],
            "label": label,
            "open_tasks": open_tasks,
            "hidden_count": sum(e.get("task_id") not in named for e in problem.errors),
            "address": task_address(task),
        },
        status=409,
    )


def _find_open_tasks(actor: Actor, task: Task, problem: Problem) -> list[tuple[Task, str]]:
    """Return the tasks that prevent the verb, as far as the user may see them, with their kinds.

    One query.
    """
    kinds = {
        int(str(error["task_id"])): str(error["code"]).removeprefix("open_")
        for error in problem.errors
        if "task_id" in error
    }
    if problem.code == "parent_done" and task.parent_id:
        kinds = {task.parent_id: "parent"}
    rows = find_rows(actor, Task, kinds)
    return [(rows[pk], kind) for pk, kind in kinds.items() if pk in rows]
