"""Searching all that one sees."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from ninja import Query, Router

from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.filtering import select_values
from tasks.models import Comment, Page, Task
from tasks.queries.filters import narrow, read_filters
from tasks.queries.lookup import find_tasks
from tasks.queries.search import read_query, search_all
from tasks.schemas.search import SearchFilters, SearchKind, SearchPage, search_result

searching = Router(tags=["Search"])
NARROWING = {"project", "project_not", "q_not"}  # filters of every kind


@searching.get("", response=SearchPage)
def search(request: ActorRequest, filters: Query[SearchFilters]) -> dict[str, Any]:
    """Tasks, comments and pages that you can see and that hold the words; those with all of them
    in the title come first, then the latest changed. A task whose key it is comes before all.
    """
    terms = read_query(filters.q)
    named = find_tasks(request.auth, [filters.q.strip()]).get(filters.q.strip())
    rows, has_more = search_all(
        terms,
        _kinds(request.auth, filters),
        named=named.pk if named else 0,
        skip=filters.skip,
        limit=filters.limit,
    )
    return {
        "data": [search_result(SearchKind(kind), row, terms) for kind, row in rows],
        "has_more": has_more,
    }


def _kinds(actor: Actor, filters: SearchFilters) -> dict[str, QuerySet[Any]]:
    viewer = actor.viewer
    kinds: dict[str, QuerySet[Any]] = {
        SearchKind.TASK: Task.objects.visible_to(viewer).select_related("project"),
        SearchKind.COMMENT: Comment.objects.visible_to(viewer).select_related("task__project"),
        SearchKind.PAGE: Page.objects.visible_to(viewer),
    }
    wanted = read_filters(actor, filters)
    narrowing = {name: wanted[name] for name in wanted.keys() & NARROWING}
    return {kind: narrow(kinds[kind], narrowing) for kind in select_values(filters, "kind", kinds)}
