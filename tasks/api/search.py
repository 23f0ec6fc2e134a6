"""Full-text search in tasks, comments and pages."""

from __future__ import annotations

from django.db.models import Model, QuerySet
from ninja import Query, Router

from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.filtering import select_values
from tasks.models.registry import SEARCHABLE_TYPES, project_path
from tasks.queries.conditions import apply_filters
from tasks.queries.filters import read_filters
from tasks.queries.lookup import find_tasks
from tasks.queries.search import read_query, search_all
from tasks.schemas.search import SearchFilters, SearchKind, SearchListResponse, search_result

searching = Router(tags=["Search"])
SHARED_FILTERS = {"project", "project_not", "q_not"}  # filters of every searchable type


@searching.get("", response=SearchListResponse)
def search(request: ActorRequest, filters: Query[SearchFilters]) -> dict[str, object]:
    """Search the visible tasks, comments and pages that contain all words.

    If `q` is the key of a task, that task comes first. Then come rows with all words in the title,
    then all others, the latest changed first.
    """
    terms = read_query(filters.q)
    key = filters.q.strip()
    task_with_key = find_tasks(request.auth, [key]).get(key)
    rows, has_more = search_all(
        terms,
        _rows_by_type(request.auth, filters),
        first_task_id=task_with_key.pk if task_with_key else 0,
        skip=filters.skip,
        limit=filters.limit,
    )
    return {
        "data": [search_result(SearchKind(kind), row, terms) for kind, row in rows],
        "has_more": has_more,
    }


def _rows_by_type(actor: Actor, filters: SearchFilters) -> dict[str, QuerySet[Model]]:
    """Return the rows to search, by the name of their resource type."""
    rows: dict[str, QuerySet[Model]] = {
        t.name: t.model.objects.visible_to(actor.viewer).select_related(project_path(t.model))
        for t in SEARCHABLE_TYPES
    }
    values = read_filters(actor, filters)
    shared = {name: values[name] for name in values.keys() & SHARED_FILTERS}
    return {
        kind: apply_filters(rows[kind], shared) for kind in select_values(filters, "kind", rows)
    }
