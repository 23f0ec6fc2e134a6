"""
Search by words: the same results from both databases.

A query consists of words between white space. All must occur, in any order, without regard to case,
width and accents; the last may be the beginning of a longer word. Words "in quotes" must follow
each other. There are no operators.

taskflow/db/text.py defines what a word is. Each searched column has another one with its words,
which the full-text index contains. The index selects candidate rows. Words that follow each other,
and parts with punctuation, symbols or emoji, must then occur in that column literally.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_, or_
from typing import NamedTuple, TypeVar

from django.db import connection
from django.db.models import BooleanField, Case, F, Func, Model, Q, QuerySet, Value, When
from django.db.models.expressions import Expression, RawSQL
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from taskflow.db.text import Word, locate_part, locate_words, split_for_search
from taskflow.http.errors import Invalid
from taskflow.tenancy import current_tenant_id
from tasks.models.registry import SEARCHABLE_TYPES

M = TypeVar("M", bound=Model)
# The columns of words: of the title, if there is one, and of the text.
SEARCH_COLUMNS: Mapping[type[Model], tuple[str, ...]] = {
    t.model: tuple(f"{name}_words" for name in t.search_columns) for t in SEARCHABLE_TYPES
}
MAX_TERMS = 20
# A phrase in quotes, or else a word, between white space.
TERM = re.compile(r'(?<!\S)"([^"]*[^"\s][^"]*)"(?!\S)|(\S+)')
MAX_INDEXED_WORDS = 16  # of one term; the others are compared in the candidate rows


@dataclass(frozen=True)
class Term:
    """One word of a query, or one phrase in quotes, whose words must follow each other."""

    words: tuple[str, ...]  # folded, in the form in which the index contains them
    parts: tuple[str, ...]  # folded, with signs that the index does not contain
    is_phrase: bool = False
    is_prefix: bool = False

    @property
    def sequence(self) -> str:
        """The words as they follow each other in a column of words."""
        return f" {' '.join(self.words)}" + ("" if self.is_prefix else " ")


class Condition(NamedTuple):
    """The condition on the text of a row. Its values may be parameters of a query that is compiled
    once.
    """

    query: str | Expression | None  # for the index; None if the index contains no term
    literals: tuple[str | Expression, ...]  # each must occur in one column of words


def read_query(text: str, parameter: str = "q") -> tuple[Term, ...]:
    """Split a text into terms. Raises Invalid if it is blank or has more than MAX_TERMS terms."""
    hits = list(TERM.finditer(text))
    if not hits:
        raise Invalid.parameter(parameter, "It contains no words. Send at least one.")
    if len(hits) > MAX_TERMS:
        raise Invalid.parameter(parameter, f"It has more than {MAX_TERMS} words. Send fewer.")
    return tuple(_build_term(hit[1], hit[2], is_last=hit is hits[-1]) for hit in hits)


def build_condition(terms: Iterable[Term]) -> Condition:
    """Return the condition that all of these terms occur."""
    terms = list(terms)
    literals = [t.sequence for t in terms if len(t.words) > 1] + [p for t in terms for p in t.parts]
    return Condition(_build_index_query(terms), tuple(literals))


def build_exclusions(terms: Iterable[Term]) -> tuple[Condition, ...]:
    """Return one condition per term, as a whole word. Rows that satisfy any are excluded."""
    return tuple(build_condition([replace(term, is_prefix=False)]) for term in terms)


def matches(model: type[Model], condition: Condition) -> Q:
    """Return the condition that the texts of a row satisfy `condition`."""
    result = Q() if condition.query is None else _is_in_index(model, condition.query)
    for literal in condition.literals:
        result &= _any(_contains(field, literal) for field in SEARCH_COLUMNS[model])
    return result


class SearchedText(NamedTuple):
    """What a search looks for. Its values may be parameters of a query."""

    condition: Condition
    titles: tuple[str | Expression, ...]  # each occurs in a title that contains all terms


def read_text(terms: Sequence[Term]) -> SearchedText:
    """Return what a search for these terms looks for."""
    sequences = [term.sequence for term in terms if term.words]
    return SearchedText(build_condition(terms), (*sequences, *(p for t in terms for p in t.parts)))


def add_rank(
    rows: QuerySet[M], searched: SearchedText, first_id: int | Expression | None = None
) -> QuerySet[Model, M]:
    """Add the columns by which rows are ranked: `is_first`, 1 for the row with the id `first_id`,
    and `in_title`, 1 for rows with all words in the title; otherwise 0.
    """
    ranked: QuerySet[Model, M] = rows.annotate(
        is_first=_as_number(Q(pk__in=[] if first_id is None else [first_id])),
        in_title=_as_number(_is_in_title(rows.model, searched.titles)),
    )
    return ranked


def rank(
    rows: QuerySet[M], searched: SearchedText, first_id: int | Expression | None = None
) -> QuerySet[Model, M]:
    """Return the rows with the columns of add_rank(), best first. Equal ones: the latest first."""
    # A column that is 0 for all rows would be read as the number of a column.
    has_title = len(SEARCH_COLUMNS[rows.model]) > 1
    names = ["-is_first"] * (first_id is not None) + ["-in_title"] * has_title
    return add_rank(rows, searched, first_id).order_by(*names, "-updated_at", "-id")


def _as_number(condition: Q) -> Case:
    return Case(When(condition, then=1), default=0)


def _is_in_title(model: type[Model], titles: Iterable[str | Expression]) -> Q:
    """Return the condition that all terms occur in the title. A comment has none."""
    *columns, _text = SEARCH_COLUMNS[model]
    if not columns:
        return Q(pk__in=[])
    return reduce(and_, (_contains(columns[0], literal) for literal in titles))


# ---- from text to terms -------------------------------------------------------------------------


def _build_term(phrase: str | None, word: str | None, *, is_last: bool) -> Term:
    """Return the term for a phrase in quotes or a single word. The last word may be a beginning."""
    words, parts = split_for_search(phrase or word or "")
    return Term(tuple(words), tuple(parts), bool(phrase), is_prefix=is_last and not phrase)


def _build_index_query(terms: Iterable[Term]) -> str | None:
    """Return the query that selects the rows with all words; None if there is no word.

    A word has no character with a meaning in these languages.
    """
    words = dict.fromkeys(word for term in terms for word in _indexed_words(term))
    if not words:
        return None
    if connection.vendor == "postgresql":
        return " & ".join(f"'{word}'" + ":*" * is_prefix for word, is_prefix in words)
    parts = [f'"{word}"' + "*" * is_prefix for word, is_prefix in words]
    return " AND ".join([f'"@{current_tenant_id()}"', *parts])


def _indexed_words(term: Term) -> Iterator[tuple[str, bool]]:
    """Yield words for the index, each with whether it is the beginning of a word."""
    last = len(term.words) - 1
    for number, word in enumerate(term.words[:MAX_INDEXED_WORDS]):
        yield word, term.is_prefix and number == last


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
    return Q(GreaterThan(StrIndex(F(field), _expression(literal)), 0))


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
    places = ((text, _find_places(text, terms)) for text in texts)
    text, hits = next(((text, found) for text, found in places if found), (texts[0], []))
    first_start, first_end = hits[0] if hits else (0, 0)
    start, end = max(0, first_start - CONTEXT), min(len(text), first_end + CONTEXT)
    pieces = [{"text": "…", "match": False}] if start else []
    at = start
    for hit_start, hit_end in hits:
        if hit_start >= end:
            break
        if hit_start > at:
            pieces.append({"text": text[at:hit_start], "match": False})
        pieces.append({"text": text[hit_start:hit_end], "match": True})
        at = hit_end
    if at < end:
        pieces.append({"text": text[at:end], "match": False})
    return [*pieces, {"text": "…", "match": False}] if max(at, end) < len(text) else pieces


def _find_places(text: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    """Return where terms stand in the text, as (start, end), in order and without overlaps."""
    words = locate_words(text)
    places: list[tuple[int, int]] = []
    for term in terms:
        if term.words and (term.is_phrase or not term.parts):
            places += _places_of_words(words, term)
        else:
            places += [place for part in term.parts for place in locate_part(text, part)]
    apart: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if not apart or start >= apart[-1][1]:
            apart.append((start, end))
    return apart


def _places_of_words(words: Sequence[Word], term: Term) -> Iterator[tuple[int, int]]:
    """Yield where the words of the term follow each other."""
    count, last = len(term.words), term.words[-1]
    for at in range(len(words) - count + 1):
        found = words[at : at + count]
        ends = found[-1].text.startswith(last) if term.is_prefix else found[-1].text == last
        if ends and all(w.text == t for w, t in zip(found[:-1], term.words, strict=False)):
            yield found[0].start, found[-1].end
