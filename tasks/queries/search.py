"""
Search by words: the same results from PostgreSQL's full-text search and from SQLite's FTS5.

A query consists of words between white space. All must occur, in any order and case; the last may
be the beginning of a longer word. Words "in quotes" must follow each other. There are no operators.

The index contains only letters and digits. It selects candidate rows, and everything else in a word
(punctuation, symbols, ½, emoji, scripts without spaces between words) must then occur in the row's
text as written; case does not count. A word that the index cannot contain is searched without it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import BooleanField, Case, F, Func, Model, Q, QuerySet, Value, When
from django.db.models.expressions import Expression, RawSQL
from django.db.models.functions import Lower, Replace, StrIndex
from django.db.models.lookups import GreaterThan

from taskflow.http.errors import Invalid
from taskflow.tenancy import current_tenant_id
from tasks.models import Task
from tasks.models.registry import SEARCHABLE_TYPES

M = TypeVar("M", bound=Model)
SEARCH_COLUMNS: Mapping[type[Model], tuple[str, ...]] = {
    t.model: t.search_columns for t in SEARCHABLE_TYPES
}
MAX_TERMS = 20
# A phrase in quotes, or else a word, between white space.
TERM = re.compile(r'(?<!\S)"([^"]*[^"\s][^"]*)"(?!\S)|(\S+)')
SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~]+")  # the index treats ASCII punctuation as spaces
# Words that both indexes store as one word. PostgreSQL, for example, splits 1e5x into 1e5 and x.
UNSPLIT = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+")
# Characters of scripts without spaces between words.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True)
class Term:
    """One word of a query, or one phrase in quotes, whose words must follow each other."""

    text: str
    words: tuple[str, ...]  # that are searched in the index; empty if it cannot contain the term
    literals: tuple[str, ...]  # must occur as written; case does not count
    is_phrase: bool = False
    is_prefix: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression for the term, by which snippet() marks it in a text."""
        if not self.words or (self.literals and not self.is_phrase):
            return re.escape(self.text)
        words = r"[\W_]+".join(map(re.escape, self.words))
        return rf"(?<![^\W_]){words}" + (r"[^\W_]*" if self.is_prefix else r"(?![^\W_])")


class Condition(NamedTuple):
    """The condition on the text of a row. Its values may be parameters of a query that is compiled
    once.
    """

    query: str | Expression | None  # for the index; None if the index contains no term
    literals: tuple[str | Expression, ...]


def read_query(text: str, parameter: str = "q") -> tuple[Term, ...]:
    """Split a text into terms. Raises Invalid if it is blank or has more than MAX_TERMS terms."""
    hits = list(TERM.finditer(text))
    if not hits:
        raise Invalid.parameter(parameter, "It contains no words. Send at least one.")
    if len(hits) > MAX_TERMS:
        raise Invalid.parameter(parameter, f"It has more than {MAX_TERMS} words. Send fewer.")
    return tuple(_build_term(hit[1], hit[2], is_last=hit is hits[-1]) for hit in hits)


def build_condition(terms: Iterable[Term], *, title_only: bool = False) -> Condition:
    """Return the condition that all of these terms occur."""
    terms = list(terms)
    indexed = [term for term in terms if term.words]
    literals = tuple(literal for term in terms for literal in term.literals)
    return Condition(_build_index_query(indexed, title_only) if indexed else None, literals)


def build_exclusions(terms: Iterable[Term]) -> tuple[Condition, ...]:
    """Return one condition per term, as a whole word. Rows that satisfy any are excluded."""
    whole = [Term(t.text, t.words, t.literals, t.is_phrase) for t in terms]
    return tuple(build_condition([term]) for term in whole)


def matches(model: type[Model], condition: Condition, *, title_only: bool = False) -> Q:
    """Return the condition that the texts of a row, or its title alone, satisfy `condition`."""
    fields = SEARCH_COLUMNS[model][:-1] if title_only else SEARCH_COLUMNS[model]
    result = Q() if condition.query is None else _is_in_index(model, condition.query)
    for literal in condition.literals:
        result &= _any(_contains(field, literal) for field in fields)
    return result


def search(terms: Sequence[Term], rows: QuerySet[M], *, first_id: int = 0) -> QuerySet[Model, M]:
    """Return the rows that match, best first.

    First comes the row with the id `first_id`, if any, even if it does not match; then rows with
    all words in the title; then the latest changed.
    """
    in_title = Q(pk__in=[])
    if len(SEARCH_COLUMNS[rows.model]) > 1:
        titles = build_condition(terms, title_only=True)
        in_title = matches(rows.model, titles, title_only=True)
    condition = matches(rows.model, build_condition(terms))
    # The OR is used only if needed, because with it the database does not use the index.
    matching = rows.filter(condition | Q(pk=first_id) if first_id else condition)
    ranked = matching.annotate(
        is_first=Case(When(pk=first_id, then=1), default=0),
        in_title=Case(When(in_title, then=1), default=0),
    )
    return ranked.order_by("-is_first", "-in_title", "-updated_at", "-id")


def search_all(
    terms: Sequence[Term],
    rows_by_type: Mapping[str, QuerySet[Model]],
    *,
    first_task_id: int,
    skip: int,
    limit: int,
) -> tuple[list[tuple[str, Model]], bool]:
    """Search several resource types. Return (type name, row), best first, and whether there are
    more.

    The task with the id `first_task_id` comes first; 0 for none. One query per type.
    """
    needed = skip + limit + 1
    hits = [
        (type_name, row)
        for type_name, rows in rows_by_type.items()
        for row in search(terms, rows, first_id=first_task_id if rows.model is Task else 0)[:needed]
    ]
    hits.sort(key=lambda pair: _rank(pair[1]), reverse=True)
    return hits[skip : skip + limit], len(hits) >= needed


def _rank(row: Any) -> tuple[Any, ...]:
    return (row.is_first, row.in_title, row.updated_at, row.pk)


# ---- from text to terms -------------------------------------------------------------------------


def _build_term(phrase: str | None, word: str | None, *, is_last: bool) -> Term:
    """Return the term for a phrase in quotes or a single word. The last word may be a beginning."""
    text = phrase or word or ""
    words = tuple(part for part in SEPARATORS.split(text) if part)
    if not words or not all(map(_is_indexed, words)):
        return Term(text, (), (text,))
    literals = tuple(chunk for chunk in text.split() if not UNSPLIT.fullmatch(chunk))
    return Term(text, words, literals, bool(phrase), is_prefix=is_last and not phrase)


def _is_indexed(word: str) -> bool:
    """Whether the index can contain the word: only letters, their marks, and decimal digits."""
    categories = {unicodedata.category(character) for character in word}
    is_plain = all(category[0] in "LM" or category == "Nd" for category in categories)
    return (
        is_plain
        and any(category[0] != "M" for category in categories)
        and not UNSPACED.search(word)
    )


def _build_index_query(terms: Sequence[Term], title_only: bool) -> str:
    if connection.vendor == "postgresql":
        return " & ".join(f"({_build_tsquery(term, title_only)})" for term in terms)
    parts = [f'"{" ".join(term.words)}"' + "*" * term.is_prefix for term in terms]
    columns = "{title}" if title_only else "{title text}"
    return f'tenant: "t{current_tenant_id()}" AND {columns}: ({" AND ".join(parts)})'


def _build_tsquery(term: Term, title_only: bool) -> str:
    """Return a term as a tsquery.

    A phrase is searched in titles and in texts separately. Otherwise a phrase that begins in the
    title and ends in the text would match. A single word has no weight where possible, because
    PostgreSQL must read the rows to compare weights.
    """
    weights = ["A"] if title_only else ["A", "B"] if len(term.words) > 1 else [""]
    return " | ".join(f"({' <-> '.join(_lexemes(term, weight))})" for weight in weights)


def _lexemes(term: Term, weight: str) -> Iterator[str]:
    last = len(term.words) - 1
    for n, word in enumerate(term.words):
        marks = "*" * (term.is_prefix and n == last) + weight
        yield f"'{word}'" + (f":{marks}" if marks else "")


# ---- from terms to rows -------------------------------------------------------------------------


def _is_in_index(model: type[Model], query: str | Expression) -> Q:
    """Return the condition that the full-text index contains the row for this query."""
    table = model._meta.db_table
    if connection.vendor == "postgresql":
        # As an array: the planner assumes that a function returns a thousand rows, and would join
        # each of them with each project.
        is_hit = Func(
            F("pk"),
            _expression(query),
            arg_joiner=f" = ANY(ARRAY(SELECT search_{table}(",
            template="(%(expressions)s))))",
            output_field=BooleanField(),
        )
        return Q(is_hit)
    sql = f"SELECT rowid FROM {table}_search WHERE {table}_search MATCH %s"  # noqa: S608
    return Q(pk__in=RawSQL(sql, [query]))  # noqa: S611


def _contains(field: str, literal: str | Expression) -> Q:
    return Q(GreaterThan(StrIndex(_folded(F(field)), _folded(_expression(literal))), 0))


def _folded(text: Expression | F) -> Replace:
    """Return the text in lower case. The Greek sigma has two lower-case forms, which become one."""
    return Replace(Lower(text), Value("ς"), Value("σ"))


def _expression(value: str | Expression) -> Expression:
    return value if isinstance(value, Expression) else Value(value)


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions, Q(pk__in=[]))


# ---- snippets -----------------------------------------------------------------------------------

CONTEXT = 80  # characters before and after the first hit


def snippet(texts: Sequence[str], terms: Sequence[Term]) -> list[dict[str, object]]:
    """Return pieces of plain text around the first hit, each with whether it matches a term.

    The pieces are from the first of `texts` that contains a term, or else from the beginning of the
    first text.
    """
    finder = re.compile("|".join(term.pattern for term in terms), re.IGNORECASE)
    text, first = next(((t, hit) for t in texts if (hit := finder.search(t))), (texts[0], None))
    start = max(0, first.start() - CONTEXT) if first else 0
    end = min(len(text), (first.end() if first else 0) + CONTEXT)
    pieces = [{"text": "…", "match": False}] if start else []
    at = start
    for hit in finder.finditer(text, start):
        if hit.start() >= end:
            break
        if hit.start() > at:
            pieces.append({"text": text[at : hit.start()], "match": False})
        pieces.append({"text": hit[0], "match": True})
        at = hit.end()
    if at < end:
        pieces.append({"text": text[at:end], "match": False})
    return [*pieces, {"text": "…", "match": False}] if max(at, end) < len(text) else pieces
