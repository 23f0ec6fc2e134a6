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
# A phrase in quotes that stands between white space, or what else does.
TERM = re.compile(r'(?<!\S)"([^"]*[^"\s][^"]*)"(?!\S)|(\S+)')
SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~]+")  # ASCII punctuation: spaces for the index
# Words that both indexes store as one. PostgreSQL splits 1e5x into 1e5 and x.
WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+")
# Scripts that put no spaces between words.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True)
class Term:
    """One word of a query, or one phrase in quotes, whose words follow each other."""

    text: str
    words: tuple[str, ...]  # for the index; empty if it cannot contain this term
    literals: tuple[str, ...]  # must occur as written; case does not count
    is_phrase: bool = False
    is_prefix: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression that finds the term in a text, for the snippet."""
        if not self.words or (self.literals and not self.is_phrase):
            return re.escape(self.text)
        words = r"[\W_]+".join(map(re.escape, self.words))
        return rf"(?<![^\W_]){words}" + (r"[^\W_]*" if self.is_prefix else r"(?![^\W_])")


class Condition(NamedTuple):
    """The condition on the text of a row. Its values may be parameters of a query that is compiled
    once.
    """

    query: Any  # for the index; None if the index contains no term
    literals: tuple[Any, ...]


def read_query(text: str, parameter: str = "q") -> tuple[Term, ...]:
    """Read any text as a query. Raise Invalid if it is blank or has more than 20 terms."""
    found = list(TERM.finditer(text))
    if not found:
        raise Invalid.parameter(parameter, "It contains no word. Send at least one.")
    if len(found) > MAX_TERMS:
        raise Invalid.parameter(parameter, f"It has more than {MAX_TERMS} words. Send fewer.")
    return tuple(_term(match[1], match[2], is_last=match is found[-1]) for match in found)


def build_condition(terms: Iterable[Term], *, title_only: bool = False) -> Condition:
    """The condition that all of these terms occur."""
    terms = list(terms)
    indexed = [term for term in terms if term.words]
    literals = tuple(literal for term in terms for literal in term.literals)
    return Condition(_index_query(indexed, title_only) if indexed else None, literals)


def build_exclusions(terms: Iterable[Term]) -> tuple[Condition, ...]:
    """One condition for each term, as a whole word. Rows that satisfy any are to be left out."""
    whole = [Term(t.text, t.words, t.literals, t.is_phrase) for t in terms]
    return tuple(build_condition([term]) for term in whole)


def matches(model: type[Model], condition: Condition, *, title_only: bool = False) -> Q:
    """Whether the texts of a row, or its title alone, satisfy the condition."""
    fields = SEARCH_COLUMNS[model][:-1] if title_only else SEARCH_COLUMNS[model]
    found = Q() if condition.query is None else _is_in_index(model, condition.query)
    for literal in condition.literals:
        found &= _any(_contains(field, literal) for field in fields)
    return found


def search(terms: Sequence[Term], rows: QuerySet[M], *, named: int = 0) -> QuerySet[Any]:
    """Return the rows that match, best first: the row with the id `named`, then those with all
    words in the title, then the latest changed.
    """
    in_title = Q(pk__in=[])
    if len(SEARCH_COLUMNS[rows.model]) > 1:
        titles = build_condition(terms, title_only=True)
        in_title = matches(rows.model, titles, title_only=True)
    wanted = matches(rows.model, build_condition(terms))
    found = rows.filter(wanted | Q(pk=named) if named else wanted)  # "or" keeps the index unused
    ranked = found.annotate(
        is_named=Case(When(pk=named, then=1), default=0),
        in_title=Case(When(in_title, then=1), default=0),
    )
    return ranked.order_by("-is_named", "-in_title", "-updated_at", "-id")


def search_all(
    terms: Sequence[Term],
    rows_by_type: Mapping[str, QuerySet[Any]],
    named: int,
    *,
    skip: int,
    limit: int,
) -> tuple[list[tuple[str, Any]], bool]:
    """Return (type name, row) of several types together, best first, and whether there are more.

    One query per type.
    """
    most = skip + limit + 1
    found = [
        (type_name, row)
        for type_name, rows in rows_by_type.items()
        for row in search(terms, rows, named=named if rows.model is Task else 0)[:most]
    ]
    found.sort(key=lambda pair: _rank(pair[1]), reverse=True)
    return found[skip : skip + limit], len(found) >= most


def _rank(row: Any) -> tuple[Any, ...]:
    return (row.is_named, row.in_title, row.updated_at, row.pk)


# ---- from text to terms -------------------------------------------------------------------------


def _term(phrase: str | None, word: str | None, *, is_last: bool) -> Term:
    text = phrase or word or ""
    words = tuple(part for part in SEPARATORS.split(text) if part)
    if not words or not all(map(_is_indexed, words)):
        return Term(text, (), (text,))
    literals = tuple(chunk for chunk in text.split() if not WHOLE.fullmatch(chunk))
    return Term(text, words, literals, bool(phrase), is_prefix=is_last and not phrase)


def _is_indexed(word: str) -> bool:
    """Whether the index finds the word: letters with their marks, and decimal digits."""
    kinds = {unicodedata.category(character) for character in word}
    is_known = all(kind[0] in "LM" or kind == "Nd" for kind in kinds)
    return is_known and any(kind[0] != "M" for kind in kinds) and not UNSPACED.search(word)


def _index_query(terms: Sequence[Term], title_only: bool) -> str:
    if connection.vendor == "postgresql":
        return " & ".join(f"({_tsquery(term, title_only)})" for term in terms)
    parts = [f'"{" ".join(term.words)}"' + "*" * term.is_prefix for term in terms]
    columns = "{title}" if title_only else "{title text}"
    return f'tenant: "t{current_tenant_id()}" AND {columns}: ({" AND ".join(parts)})'


def _tsquery(term: Term, title_only: bool) -> str:
    """Return a term as a tsquery. A phrase is searched in titles and in texts separately, or it
    could begin in one and end in the other.

    PostgreSQL has to read the rows to compare weights, so a single word has none where possible.
    """
    weights = ["A"] if title_only else ["A", "B"] if len(term.words) > 1 else [""]
    return " | ".join(f"({' <-> '.join(_lexemes(term, weight))})" for weight in weights)


def _lexemes(term: Term, weight: str) -> Iterator[str]:
    last = len(term.words) - 1
    for n, word in enumerate(term.words):
        marks = "*" * (term.is_prefix and n == last) + weight
        yield f"'{word}'" + (f":{marks}" if marks else "")


# ---- from terms to rows -------------------------------------------------------------------------


def _is_in_index(model: type[Model], query: Any) -> Q:
    """Whether the full-text index finds the row, among the rows of the current tenant."""
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


def _contains(field: str, literal: Any) -> Q:
    return Q(GreaterThan(StrIndex(_folded(F(field)), _folded(_expression(literal))), 0))


def _folded(text: Any) -> Replace:
    """Return the text in lower case, with one form of the Greek sigma, which has two."""
    return Replace(Lower(text), Value("ς"), Value("σ"))


def _expression(value: Any) -> Any:
    return value if isinstance(value, Expression) else Value(value)


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions, Q(pk__in=[]))


# ---- snippets -----------------------------------------------------------------------------------

CONTEXT = 80  # characters on either side of the first hit


def snippet(texts: Sequence[str], terms: Sequence[Term]) -> list[dict[str, Any]]:
    """Return pieces of plain text around the first hit, each with whether it matched.

    They are of the first text that contains one of the words, or else from the start of the first.
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
