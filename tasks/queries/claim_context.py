"""What a worker should know beside a claimed task: its project, parent, comments and last claim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Claim, Comment, Task

Context = dict[str, Any]  # the fields of a ClaimContext
COMMENT_COLUMNS = ("task_id", "author__handle", "created_at", "body")


@with_tenant_parameter
def _latest_comments(task_ids: IdArray, count: int) -> QuerySet[Comment, Row]:
    order = Window(RowNumber(), partition_by="task_id", order_by=F("id").desc())
    rows = Comment.objects.filter(IsInIds("task_id", task_ids)).annotate(_position=order)
    latest = rows.filter(_position__lte=count).order_by("pk")
    return latest.values_list(*COMMENT_COLUMNS)


LATEST_COMMENTS_QUERY = QueryCache(_latest_comments)


def load_contexts(
    claims: Sequence[Claim], *, max_comments: int, max_text: int
) -> dict[int, Context]:
    """Return the context of each claim by its id, with at most `max_text` characters of each text.

    At most three queries: none for tasks without a parent, comments and earlier claims.
    """
    tasks = [claim.task for claim in claims]
    parents = _load_parents(tasks)
    comments = _load_comments(tasks, max_comments)
    earlier = _load_earlier(claims)
    return {
        claim.pk: {
            "project": _describe_project(claim.task, max_text),
            "parent": parents.get(claim.task.parent_id or 0),
            "comments": [
                {"author": author, "created_at": created_at, "body": body[:max_text]}
                for author, created_at, body in comments.get(claim.task_id, ())
            ],
            "earlier_claim": earlier.get(claim.task_id),
        }
        for claim in claims
    }


def _describe_project(task: Task, max_text: int) -> Context:
    project = task.project
    return {
        "id": project.pk,
        "key": project.key,
        "name": project.name,
        "description": project.description[:max_text],
    }


def _load_parents(tasks: Sequence[Task]) -> dict[int, Context]:
    """Return the parents of the tasks by id. They are in the project of their subtasks."""
    ids = {task.parent_id for task in tasks if task.parent_id}
    rows = Task.objects.filter(pk__in=ids).select_related("project") if ids else ()
    return {
        row.pk: {"id": row.pk, "key": row.key, "title": row.title, "status": row.status}
        for row in rows
    }


def _load_comments(tasks: Sequence[Task], count: int) -> dict[int, list[Row]]:
    """Return the latest comments by task, each as (author's handle, time, text)."""
    comments: dict[int, list[Row]] = defaultdict(list)
    ids = tuple(task.pk for task in tasks if task.commented_at)
    for task_id, *rest in LATEST_COMMENTS_QUERY.fetch((), IdArray(ids), count) if ids else ():
        comments[task_id].append(tuple(rest))
    return comments


def _load_earlier(claims: Sequence[Claim]) -> dict[int, Context]:
    """Return the claim before each of these, by task."""
    condition = Q()
    for claim in claims:
        if claim.fence > 1:
            condition |= Q(task=claim.task_id, fence=claim.fence - 1)
    rows = Claim.objects.filter(condition) if condition else ()
    return {
        row.task_id: {
            "worker": row.worker,
            "end": row.end,
            "ended_at": row.ended_at,
            "progress": row.progress,
            "note": row.note,
        }
        for row in rows
    }
