"""
Searching by words: the same question to PostgreSQL's full text and to SQLite's FTS5.

A query is words, all of which must occur, in any order and case; the last one may be the beginning
of a word. "in quotes" they must follow each other; with - before it a word must not occur. What a
database cannot split into words (Chinese, Japanese, Thai, emoji) is looked for as it is, without
the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import BooleanField, Case, F, Func, Model, Q, QuerySet, Value, When
from django.db.models.expressions import Expression, RawSQL

from accounts.tenancy import current_tenant_id
from taskflow.errors import Invalid
from tasks.models import Comment, Page, Task

M = TypeVar("M", bound=Model)
TEXTS: dict[type[Model], tuple[str, ...]] = {
    Task: ("title", "description"),
    Comment: ("body",),
    Page: ("title", "body"),
}
MOST_TERMS = 20
CHUNK = re.compile(r'(-?)(?:"([^"]*)"|([^\s"]+))')
SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~]+")  # ASCII's punctuation, as the index has it
# Scripts that put no spaces between words.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True)
class Term:
    """Words that follow each other; or, with `literal`, characters as they are."""

    words: tuple[str, ...] = ()
    is_prefix: bool = False
    literal: str = ""

    @property
    def pattern(self) -> str:
        """Finds it in a text, for the snippet."""
        if self.literal:
            return re.escape(self.literal)
        words = r"[\W_]+".join(map(re.escape, self.words))
        return rf"(?<![^\W_]){words}" + (r"[^\W_]*" if self.is_prefix else r"(?![^\W_])")


@dataclass(frozen=True)
class Question:
    wanted: tuple[Term, ...]
    unwanted: tuple[Term, ...]


def read_query(text: str, parameter: str = "q") -> Question:
    """Any text is a question. Raises Invalid for more than 20 words, and for none."""
    chunks = [m for m in CHUNK.finditer(text) if m[2] or m[3]]
    wanted: list[Term] = []
    unwanted: list[Term] = []
    for n, chunk in enumerate(chunks):
        is_last = n == len(chunks) - 1 and chunk[2] is None
        term = _term(chunk[2] or chunk[3], is_prefix=is_last and not chunk[1])
        if term is not None:
            (unwanted if chunk[1] else wanted).append(term)
    if not (wanted or unwanted):
        raise Invalid.parameter(parameter, "There is no word in it to look for.")
    if len(wanted) + len(unwanted) > MOST_TERMS:
        raise Invalid.parameter(parameter, f"Look for {MOST_TERMS} words at most.")
    return Question(tuple(wanted), tuple(unwanted))


class Sought(NamedTuple):
    """Terms as the index and the database take them; what is in here may be a hole."""

    query: Any  # of the index; None when there is nothing for it to find
    literals: tuple[Any, ...]


class Asked(NamedTuple):
    """A question for the database of this connection and the scope's tenant."""

    wanted: Sought
    unwanted: tuple[Sought, ...]


def ask(question: Question) -> Asked:
    return Asked(_seek(question.wanted), tuple(_seek([term]) for term in question.unwanted))


def matches(model: type[Model], asked: Asked) -> Q:
    """The rows that answer the question."""
    return _holds(model, asked.wanted) & ~_any(_holds(model, term) for term in asked.unwanted)


def search(question: Question, rows: QuerySet[M], *, named: int = 0) -> QuerySet[Any]:
    """Of these rows the ones that match, best first: the one `named`, those with all words in the
    title, then the latest changed.
    """
    sought = _seek(question.wanted, title_only=True)
    in_title = _holds(rows.model, sought, title_only=True) or Q(pk__in=[])
    wanted = matches(rows.model, ask(question))
    found = rows.filter(wanted | Q(pk=named) if named else wanted)  # "or" keeps the index unused
    ranked = found.annotate(
        is_named=Case(When(pk=named, then=1), default=0),
        in_title=Case(When(in_title, then=1), default=0),
    )
    return ranked.order_by("-is_named", "-in_title", "-updated_at", "-id")


def search_all(
    question: Question, kinds: Mapping[str, QuerySet[Any]], named: int, *, skip: int, limit: int
) -> tuple[list[tuple[str, Any]], bool]:
    """(kind, row) of several kinds together, best first; and whether there are more."""
    most = skip + limit + 1
    found = [
        (kind, row)
        for kind, rows in kinds.items()
        for row in search(question, rows, named=named if rows.model is Task else 0)[:most]
    ]
    found.sort(key=lambda pair: _rank(pair[1]), reverse=True)
    return found[skip : skip + limit], len(found) >= most


def _rank(row: Any) -> tuple[Any, ...]:
    return (row.is_named, row.in_title, row.updated_at, row.pk)


def _term(text: str, *, is_prefix: bool) -> Term | None:
    text = text.lower()
    if UNSPACED.search(text) or not any(c.isalnum() for c in text):
        has_sense = any(not SEPARATORS.fullmatch(c) for c in text)
        return Term(literal=text) if has_sense else None
    words = tuple(word for word in SEPARATORS.split(text) if any(c.isalnum() for c in word))
    return Term(words, is_prefix)


def _seek(terms: Iterable[Term], *, title_only: bool = False) -> Sought:
    terms = list(terms)
    indexed = [term for term in terms if term.words]
    literals = tuple(term.literal for term in terms if term.literal)
    return Sought(_index_query(indexed, title_only) if indexed else None, literals)


def _index_query(terms: Sequence[Term], title_only: bool) -> str:
    if connection.vendor == "postgresql":
        weight = "A" if title_only else ""
        parts = [" <-> ".join(_lexemes(term, weight)) for term in terms]
        return " & ".join(f"({part})" for part in parts)
    parts = [f'"{" ".join(term.words)}"' + "*" * term.is_prefix for term in terms]
    columns = "{title}" if title_only else "{title text}"
    return f'tenant: "t{current_tenant_id()}" AND {columns}: ({" AND ".join(parts)})'


def _holds(model: type[Model], sought: Sought, *, title_only: bool = False) -> Q:
    """With nothing sought, all rows."""
    fields = TEXTS[model]
    if title_only:
        fields = fields[:-1]  # the last one is the text
    found = Q() if sought.query is None else _hits(model, sought.query)
    for literal in sought.literals:
        found &= _any(Q((f"{field}__icontains", literal)) for field in fields)
    return found


def _hits(model: type[Model], query: Any) -> Q:
    """What the full-text index finds, of the scope's tenant only."""
    table = model._meta.db_table
    if connection.vendor == "postgresql":
        # As an array: a set that a function returns the planner takes for a thousand ids, whatever
        # it holds, and joins each with each project.
        is_hit = Func(
            F("pk"),
            query if isinstance(query, Expression) else Value(query),
            arg_joiner=f" = ANY(ARRAY(SELECT search_{table}(",
            template="(%(expressions)s))))",
            output_field=BooleanField(),
        )
        return Q(is_hit)
    sql = f"SELECT rowid FROM {table}_search WHERE {table}_search MATCH %s"  # noqa: S608
    return Q(pk__in=RawSQL(sql, [query]))  # noqa: S611


def _lexemes(term: Term, weight: str) -> Iterable[str]:
    for n, word in enumerate(term.words):
        marks = "*" * (term.is_prefix and n == len(term.words) - 1) + weight
        yield f"'{word}'" + (f":{marks}" if marks else "")


def _any(questions: Iterable[Q]) -> Q:
    return reduce(or_, questions, Q(pk__in=[]))


# ---- snippets -----------------------------------------------------------------------------------

AROUND = 80  # characters on either side of the first hit


def snippet(texts: Sequence[str], question: Question) -> list[dict[str, Any]]:
    """Where the words occur: pieces of plain text, each with whether it matched.

    Of the first text that has one of the words, else the beginning of the first.
    """
    patterns = [term.pattern for term in question.wanted]
    if not patterns:
        return [{"text": texts[0][: 2 * AROUND], "match": False}]
    finder = re.compile("|".join(patterns), re.IGNORECASE)
    text, first = next(((t, hit) for t in texts if (hit := finder.search(t))), (texts[0], None))
    start = max(0, first.start() - AROUND) if first else 0
    end = min(len(text), (first.end() if first else 0) + AROUND)
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
