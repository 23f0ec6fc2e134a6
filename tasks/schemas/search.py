"""What a search takes and finds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import MISSING, Field

from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.schema import ExcludedWords, FilterWord, Out, SearchWords
from tasks.models import Comment, Page, Task
from tasks.queries.search import Term, snippet


class SearchKind(StrEnum):
    TASK = "task"
    COMMENT = "comment"
    PAGE = "page"


@with_exclusions
class SearchFilters(Filters):
    q: SearchWords
    q_not: ExcludedWords | MISSING = MISSING
    kind: list[SearchKind] | MISSING = list_filter_field()
    project: list[FilterWord] | MISSING = list_filter_field("Id or key.")
    limit: int = Field(20, ge=1, le=100)
    skip: int = Field(0, ge=0, le=1000)


class Piece(Out):
    text: str
    match: bool


class SearchResult(Out):
    kind: SearchKind
    id: int
    key: str | None = Field(description="Of a task; of a comment, its task's.")
    project_id: int
    title: str = Field(description="Of a comment, its task's.")
    snippet: list[Piece] = Field(description="Plain text in pieces: those that match, and others.")
    in_title: bool
    updated_at: datetime


class SearchPage(Out):
    data: list[SearchResult]
    has_more: bool


def search_result(kind: SearchKind, row: Any, terms: Sequence[Term]) -> dict[str, Any]:
    task = row.task if isinstance(row, Comment) else row if isinstance(row, Task) else None
    texts = [row.body or row.title] if isinstance(row, Page) else []
    if isinstance(row, Task):
        texts = [row.description, row.title]
    elif isinstance(row, Comment):
        texts = [row.body]
    return {
        "kind": kind,
        "id": row.pk,
        "key": task.key if task else None,
        "project_id": task.project_id if task else row.project_id,
        "title": task.title if task else row.title,
        "snippet": snippet(texts, terms),
        "in_title": bool(row.in_title),
        "updated_at": row.updated_at,
    }
