"""
What stored values depend on never changes by itself: the folding, the words and the search index.

A database contains the results of these functions. If one of them returned something else, stored
rows would keep the old value: a tag would not be found by its own name, and two tags could have
equal names. docs/contributing.md, “Migrations”, says how to change them.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import cache

import pytest

from taskflow.db import text as present
from tasks.migrations import _folding, _search, _search_pages, _words

pytestmark = pytest.mark.one_database

# By text: the stored key and the stored words. A change of these values needs a migration that
# computes all rows again.
STORED = {
    "Straße": ("strasse", " strasse "),
    "\ufb01x": ("fix", " fix "),
    "Ｄｅｓｉｇｎ": ("design", " design "),
    "Café": ("caf\xe9", " cafe "),
    "Cafe\u0301": ("caf\xe9", " cafe "),
    "İstanbul": ("i\u0307stanbul", " istanbul "),
    "ΣΊΣΥΦΟΣ": ("σ\u03afσυφοσ", " σισυφοσ "),
    "½ ①": ("1\u20442 1", " 1 2 1 \n 1\u20442 "),
    "C++ and c#, F#!": ("c++ and c#, f#!", " c++ and c# f# \n c#, f#! "),
    "x-1, b_c": ("x-1, b_c", " x 1 b c \n x-1, b_c "),
    "日本語のテスト": ("日本語のテスト", " 日 本 語 の テ ス ト "),
    "ภาษาไทย": ("ภาษาไทย", " ภ า ษ า ไ ท ย "),
    "שָׁלוֹם": ("\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", " \u05e9\u05dc\u05d5\u05dd "),
    "한국어": ("한국어", " 한국어 "),
    "a\u00a0b\u2028c": ("a b\u2028c", " a b c "),
    "🚀 go": ("🚀 go", " go \n 🚀 "),
    "\u0301 alone": ("\u0301 alone", " \u0301 alone "),
    "ﷺ" * 120: ("صلى الله عليه وسلم" * 120, None),  # longer than a key
}
MAX_KEY_BYTES = 2_000
# Of all characters of Unicode 3.2, which Python knows in every version: SHA-256 of the results.
DIGESTS = {
    "fold_key": "0df037ea693ff1e90047ca41573277da2b08bb71fdd1c69ef5b1c49e6a9f929b",
    "search_text": "8d05246bdb80ac360b33bf9cca6f2997bd4e713d6d5ba05f96f9426d71557ec7",
}
# SHA-256 of the statements with which the search index of a table is made.
SEARCH_INDEX = "997d488dc5a12be074f576f5164f1230775ba82cc2794290eeea9bc46e72f96a"
# SHA-256 of the statements that create the function which searches a table with titles, and with
# counts.
SEARCH_PAGES = "9e6d3106b0987f9ec5d079b5f282683d1668e2eb96f439232a0b6b84429455de"

FUNCTIONS = {
    "fold_key": (present.fold_key, _folding.fold_key),
    "search_text": (present.search_text, _words.search_text),
}


@pytest.mark.parametrize("text", STORED)
def test_stored_values_of_a_text_stay_as_they_are(text):
    key, words = STORED[text]
    key = key.encode()[:MAX_KEY_BYTES].decode(errors="ignore")

    assert [fold_key(text) for fold_key in FUNCTIONS["fold_key"]] == [key] * 2
    if words is not None:
        assert [search_text(text) for search_text in FUNCTIONS["search_text"]] == [words] * 2


@cache
def characters():
    old = unicodedata.ucd_3_2_0
    every = map(chr, range(0x110000))
    return [c for c in every if old.category(c) not in ("Cn", "Cs", "Co")]


@pytest.mark.slow
@pytest.mark.parametrize("name", DIGESTS)
@pytest.mark.parametrize("version", ["present", "frozen"])
def test_stored_values_of_every_character_stay_as_they_are(name, version):
    function = FUNCTIONS[name][version == "frozen"]

    digest = hashlib.sha256()
    for character in characters():
        text = f"a{character}b {character}"
        digest.update(text.encode() + function(text).encode() + b"\0")

    assert digest.hexdigest() == DIGESTS[name]


def test_statements_of_the_search_index_stay_as_they_are():
    """A database that is upgraded must get the same index as a new one."""
    add_index = _search.AddSearchIndex("tasks_x", "title_words", "body_words")
    names = add_index._names_on_sqlite()
    statements = [statement.format(**names) for statement in _search.SQLITE]
    words = " || ".join(_search.POSTGRESQL_WORDS.format(column=c) for c in add_index.columns)
    statements.append(_search.POSTGRESQL.format(table="tasks_x", schema="public", words=words))

    assert hashlib.sha256("\n".join(statements).encode()).hexdigest() == SEARCH_INDEX


def test_statements_of_the_search_functions_stay_as_they_are():
    table = _search_pages.SearchedTable(
        "tasks_x", "true", has_title=True, text="body_words", has_counts=True
    )
    sql = _search_pages.function_sql(table, "public") + _search_pages.TITLE_WORDS

    assert hashlib.sha256(sql.encode()).hexdigest() == SEARCH_PAGES
