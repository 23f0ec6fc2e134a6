"""The schemas of search."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import MISSING, Field

from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.schema import (
    ExcludedWords,
    FilterWord,
    Out,
    RowId,
    SearchWords,
    UpdatedAt,
    WholeNumber,
)
from tasks.models.registry import SEARCHABLE_TYPES
from tasks.queries.search import Term, snippet
from tasks.queries.search_page import TYPES, Hit


class SearchKind(StrEnum):
    """The names of the resource types that can be searched."""

    _ignore_ = "members resource_type"
    members = vars()
    for resource_type in SEARCHABLE_TYPES:
        members[resource_type.name.upper()] = resource_type.name


@with_exclusions
class SearchFilters(Filters):
    q: SearchWords
    q_not: ExcludedWords | MISSING = MISSING
    kind: list[SearchKind] | MISSING = list_filter_field("One of these resource types.")
    project: list[FilterWord] | MISSING = list_filter_field("Id or key.")
    limit: WholeNumber = Field(20, ge=1, le=100, description="Results per page.")
    skip: WholeNumber = Field(0, ge=0, le=1000, description="Results to leave out.")


class SnippetPiece(Out):
    """A piece of a snippet."""

    text: str = Field(description="Plain text, to be joined with that of the other pieces.")
    match: bool = Field(description="Whether the piece matches a word of the query.")


class SearchResult(Out):
    """A task, comment or page that contains the words."""

    kind: SearchKind
    id: RowId
    key: str | None = Field(description="The key of a task; for a comment, the key of its task.")
    project_id: int = Field(description="The id of its project.")
    title: str = Field(description="The title; for a comment, the title of its task.")
    snippet: list[SnippetPiece] = Field(description="Plain text around the first match, in pieces.")
    in_title: bool = Field(description="Whether all words are in the title.")
    updated_at: UpdatedAt


class SearchListResponse(Out):
    """A page of the results of a search."""

    data: list[SearchResult] = Field(description="The results, the best first.")
    has_more: bool = Field(description="Whether there are more results after `skip` and `limit`.")


def search_result(hit: Hit, terms: Sequence[Term]) -> dict[str, object]:
    """Return a SearchResult. The snippet is of the text, or else of the title if it has one."""
    has_title = len(TYPES[hit.type_name].search_columns) > 1
    return {
        "kind": hit.type_name,
        "id": hit.id,
        "key": hit.key,
        "project_id": hit.project_id,
        "title": hit.title,
        "snippet": snippet([hit.text, hit.title] if has_title else [hit.text], terms),
        "in_title": hit.in_title,
        "updated_at": hit.updated_at,
    }
