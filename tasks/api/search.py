"""Searching all that one sees."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from ninja import Query, Router

from accounts.actor import Actor, ActorRequest
from tasks.filters import filter_projects_of
from tasks.find import find_tasks
from tasks.models import Comment, Page, Task
from tasks.schemas.search import SearchFilters, SearchKind, SearchPage, search_result
from tasks.search import read_query, search_all

searching = Router(tags=["Search"])


@searching.get("", response=SearchPage)
def search(request: ActorRequest, filters: Query[SearchFilters]) -> dict[str, Any]:
    """Tasks, comments and pages that you can see and that hold the words; those with all of them
    in the title come first, then the latest changed. A task whose key it is comes before all.
    """
    question = read_query(filters.q)
    named = find_tasks(request.auth, [filters.q.strip()]).get(filters.q.strip())
    rows, has_more = search_all(
        question,
        _kinds(request.auth, filters),
        named=named.pk if named else 0,
        skip=filters.skip,
        limit=filters.limit,
    )
    return {
        "data": [search_result(SearchKind(kind), row, question) for kind, row in rows],
        "has_more": has_more,
    }


def _kinds(actor: Actor, filters: SearchFilters) -> dict[str, QuerySet[Any]]:
    kinds: dict[str, tuple[QuerySet[Any], str]] = {
        SearchKind.TASK: (Task.objects.visible_to(actor).select_related("project"), "project"),
        SearchKind.COMMENT: (
            Comment.objects.visible_to(actor).select_related("task__project"),
            "task__project",
        ),
        SearchKind.PAGE: (Page.objects.visible_to(actor), "project"),
    }
    return {
        kind: filter_projects_of(actor, rows, filters.project, field)
        for kind, (rows, field) in kinds.items()
        if kind in (filters.kind or kinds)
    }
