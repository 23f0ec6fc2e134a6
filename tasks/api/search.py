"""Full-text search in tasks, comments and pages."""

from __future__ import annotations

from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.http.filtering import select_values
from tasks.queries.filters import read_filters
from tasks.queries.lookup import find_task_id_by_any_key, read_id
from tasks.queries.search import read_query
from tasks.queries.search_page import TYPES, find_page
from tasks.schemas.search import SearchFilters, SearchListResponse, search_result

searching = Router(tags=["Search"])
SHARED_FILTERS = {"project", "project_not", "q_not"}  # filters of every searchable type


@searching.get("", response=SearchListResponse)
def search(request: ActorRequest, filters: Query[SearchFilters]) -> dict[str, object]:
    """Search the visible tasks, comments and pages that contain all words.

    If `q` is the key of a task, that task comes first. Then come rows with all words in the title,
    then all others, the latest changed first.
    """
    terms, text = read_query(filters.q), filters.q.strip()
    values = read_filters(request.auth, filters)
    hits, has_more = find_page(
        request.auth,
        terms,
        select_values(filters, "kind", TYPES),
        filters={name: value for name, value in values.items() if name in SHARED_FILTERS},
        first_task_id=read_id(text) or find_task_id_by_any_key(text),
        skip=filters.skip,
        limit=filters.limit,
        is_last=True,
    )
    return {"data": [search_result(hit, terms) for hit in hits], "has_more": has_more}
