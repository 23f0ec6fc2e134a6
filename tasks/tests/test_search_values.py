"""Search for any text: hits contain every word, and every stored text can be found."""

from __future__ import annotations

from functools import partial
from unicodedata import normalize

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from conftest import PROOF
from taskflow.db.text import fold, search_fold, search_words, split_for_search
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.changes.tasks import create_task
from tasks.queries.search import MAX_TERMS, TERM, read_query, snippet

HOW = settings(
    phases=[Phase.explicit, Phase.generate] + [Phase.shrink] * PROOF,
    max_examples=400 if PROOF else 12,
    deadline=None,
    database=None,
    derandomize=not PROOF,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
# Letters, digits and what looks like them, case pairs, marks, punctuation, and scripts without
# spaces: all that one of the two indexes drops, splits or folds.
ODD = "aAeExX1259½①²⁵Ⅷ٣२ßẞΣσςİıſKøØé\u0301-\"'_%\\.,;:/&|!()*<>@#+=~^{}[]?“”’–…€™°🚀中あไคहिم\u00ad\u200d"
character = st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"], exclude_characters="\0")
word = st.text(character, min_size=1, max_size=5)
text = st.lists(word, min_size=1, max_size=3).map(" ".join).filter(lambda t: TERM.search(t))
DROPPED = ["½", "①", "²", "⁵", "x²", "½ cup", "!", "-", "--", '"', '""', "“", "…", "🚀", "\u0301", "C++", "-x", "1e5x", "a\u00adb", "ΑΣ"]  # fmt: skip


def contains(whole, part):
    """Whether the words of the part follow each other in the whole, and its signs occur in it.

    Without regard to case, width and accents. The last word may be the beginning of one.
    """
    words = " ".join(search_words(part))
    signs = split_for_search(part)[1]
    return f" {words}" in f" {' '.join(search_words(whole))} " and all(
        sign in search_fold(whole) for sign in signs
    )


def search_ids(client, **query):
    r = client.get("/tasks", query | {"limit": 200})
    assert r.status_code == 200, (query, r.content)
    return {task["id"] for task in r.json()["data"]}


@pytest.mark.slow
@HOW
@example(["plain words", *DROPPED], DROPPED)
@example(
    ["1e5 x", "9e9 e", "sign up", "a b", "C", "12 ab"], ["1e5x", "9e9e", "sign-up", "a½b", "C++"]
)
@given(st.lists(text, min_size=1, max_size=3), st.lists(text, min_size=1, max_size=2))
@pytest.mark.proof
def test_search_finds_equal_texts_and_only_rows_with_every_word(fixtures, as_, texts, queries):
    client = as_(fixtures.ada)
    with transaction.atomic():
        with inside(fixtures.acme):
            stored = {create_task(fixtures.ada, fixtures.apollo, title=t).pk: t for t in texts}
            stored[fixtures.task.pk] = fixtures.task.title

        for query in {*texts, *queries}:
            words = query.replace('"', " ").split()  # a phrase leaves its quotes out
            signs = [*words, '"'] if '"' in query else words
            rows = search_ids(client, q=query)
            holding = {pk for pk, title in stored.items() if all(contains(title, w) for w in words)}
            assert rows <= holding, query
            assert rows >= {pk for pk, title in stored.items() if title == query}, query
            lacking = {pk for pk, t in stored.items() if not any(contains(t, s) for s in signs)}
            left = search_ids(client, q_not=query)
            assert left >= lacking, query
            assert not left & {pk for pk, title in stored.items() if title == query}, query
        transaction.set_rollback(True)


SCRIPTS = "aéñßøŁİıΣς ЖйЁ あア゙ガー東日한글กำ้ไ ကြ့ ខ្មែ עִבְ مَرحِ हिन्दी த்மொ ꧡ 9१½ﬁĳ①ﾊﾟＡ"
script_word = st.text(st.sampled_from(SCRIPTS.replace(" ", "")), min_size=1, max_size=6)
script_title = st.lists(script_word | word, min_size=1, max_size=4).map(" ".join)
FORMS = {
    **{form: partial(normalize, form) for form in ("NFC", "NFD", "NFKC", "NFKD")},
    "lower": str.lower,
    "upper": str.upper,
    "folded": fold,
    "plain": search_fold,
    "full width": lambda t: "".join(
        chr(ord(c) + 0xFEE0) if "0" <= c <= "z" and c.isalnum() else c for c in t
    ),
}


@pytest.mark.slow
@HOW
@given(st.lists(script_title.filter(lambda t: TERM.search(t)), min_size=1, max_size=4))
@pytest.mark.proof
def test_title_is_found_by_its_text_and_its_words_in_every_form(fixtures, as_, titles):
    client = as_(fixtures.ada)
    with transaction.atomic():
        with inside(fixtures.acme):
            stored = {create_task(fixtures.ada, fixtures.apollo, title=t).pk: t for t in titles}

        for pk, title in stored.items():
            for name, form in FORMS.items():
                query = form(title)
                # In Turkish only, ı is the small letter of I.
                if search_fold(query) == search_fold(title) and len(query) <= 500:
                    assert pk in search_ids(client, q=query), (name, query)
                    assert pk not in search_ids(client, q_not=query), (name, query)
            for one in {*title.split(), *search_words(title)}:
                assert pk in search_ids(client, q=one), one
        transaction.set_rollback(True)


def test_plus_and_sharp_belong_to_the_word_before_them(fixtures, as_):
    titles = ("C++ course", "C# course", "C course", "Cat course")
    with inside(fixtures.acme):
        tasks = {t: create_task(fixtures.ada, fixtures.apollo, title=t).pk for t in titles}
    client = as_(fixtures.ada)

    assert search_ids(client, q="C++") == {tasks["C++ course"]}
    assert search_ids(client, q="c#") == {tasks["C# course"]}
    assert search_ids(client, q='"c"') == {tasks["C course"]}
    assert search_ids(client, q="C course") == {tasks["C course"]}
    assert search_ids(client, q="c") == set(tasks.values()), "the beginning of a word"


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("Größe", "GROSSE"),
        ("Café-Bar", "cafe-bar"),
        ("Straße", "strasse"),
        ("ﬁx", "FIX"),
        ("שָׁלוֹם", "שלום"),
        ("مَكتَب", "مكتب"),
        ("ＢＵＧ－１", "bug-1"),
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("한글", normalize("NFD", "한글")),
        ("東京タワー", "京タ"),
        ("İstanbul", "istanbul"),
        ("½ cup", "1⁄2 CUP"),
    ],
)
def test_text_is_found_in_another_form(fixtures, as_, stored, query):
    with inside(fixtures.acme):
        task = create_task(fixtures.ada, fixtures.apollo, title="x", description=f"a {stored} b")

    assert search_ids(as_(fixtures.ada), q=query) == {task.pk}


@pytest.mark.parametrize(
    ("stored", "query"), [("ガ", "カ"), ("กู้", "กู"), ("हिन्दी", "हिनदी"), ("й", "n")]
)
def test_marks_that_make_another_letter_count(fixtures, as_, stored, query):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title=stored)

    assert search_ids(as_(fixtures.ada), q=f'"{query}" x') == set()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "text",
    ["x" * 65_536, "\U00010400" * 65_536, "\ufdfa" * 65_536, "東京" * 32_768, "🚀" * 65_536, "+" * 65_536],
    ids=["letters", "four bytes", "phrases", "han", "emoji", "plus"],
)  # fmt: skip
def test_text_of_the_greatest_length_is_stored_and_found(fixtures, as_, text):
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        task = create_task(fixtures.ada, fixtures.apollo, title="long", description=text)

    assert search_ids(client, q=f"long {text[:20]}") == {task.pk}
    assert search_ids(client, q=text[:400]) == {task.pk}
    assert search_ids(client, q=f"{text[:20]}y") == set()


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("Die GRÖSSE zählt", "größe zahlt", ["GRÖSSE", "zählt"]),
        ("Cafe\u0301 und Cafés", "café", ["Cafe\u0301", "Cafés"]),
        ("in 東京タワー heute", "京タ", ["京タ"]),
        ("a sign-up form", "up", ["up"]),
        ("a sign-up form", "sign-u", ["sign-u"]),
        ("Ｌｏａｄ ｃｅｌｌ", '"load cell"', ["Ｌｏａｄ ｃｅｌｌ"]),
        ("ﬁx it", "fix", ["ﬁx"]),
        ("½ or 🚀", "🚀 1⁄2", ["½", "🚀"]),
    ],
)
def test_snippet_marks_the_text_as_it_was_written(text, query, marked):
    pieces = snippet([text], read_query(query))

    assert [piece["text"] for piece in pieces if piece["match"]] == marked
    assert "".join(piece["text"] for piece in pieces) == text


@pytest.mark.sampled(2)
@pytest.mark.parametrize("q", [text for text in DROPPED if text not in ("!", "-", "--", '"')])
@pytest.mark.slow
def test_text_that_an_index_drops_is_found_literally_everywhere(fixtures, as_, q):
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Other", description="nothing of it")
        create_page(fixtures.ada, fixtures.apollo, title="Other", body="nothing of it")
        create_comment(fixtures.ada, fixtures.task, body="nothing of it")
    assert client.get("/search", {"q": q}).json()["data"] == []
    assert client.get("/search", {"q": f"{q} nothing"}).json()["data"] == []

    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Task", description=f"with {q} in it")
        create_page(fixtures.ada, fixtures.apollo, title="Page", body=f"with {q} in it")
        create_comment(fixtures.ada, fixtures.task, body=f"with {q} in it")

    results = client.get("/search", {"q": q}).json()["data"]
    assert sorted(r["kind"] for r in results) == ["comment", "page", "task"]
    assert client.get("/search", {"q": f"in {q} nothing"}).json()["data"] == []
    assert len(client.get("/search", {"q": f"{q} with"}).json()["data"]) == 3


def test_phrase_that_begins_in_the_title_and_ends_in_the_text_is_not_found(fixtures, as_):
    with inside(fixtures.acme):
        task = create_task(
            fixtures.ada, fixtures.apollo, title="Please sign", description="up there"
        )
        create_task(fixtures.ada, fixtures.apollo, title="Please", description="sign up there")
    client = as_(fixtures.ada)

    assert len(search_ids(client, q='"sign up"')) == 1
    assert task.pk not in search_ids(client, q='"sign up"')
    assert task.pk in search_ids(client, q="sign up")


def test_excluded_words_are_whole_and_each_excludes(fixtures, as_):
    with inside(fixtures.acme):
        made = [
            create_task(fixtures.ada, fixtures.apollo, title=title)
            for title in ("draft one", "drafts two", "old three", "C++ four")
        ]
    client = as_(fixtures.ada)
    _draft, drafts, old, cpp = (task.pk for task in made)

    assert search_ids(client, q_not="Draft") == {fixtures.task.pk, drafts, old, cpp}
    assert search_ids(client, q_not="draft old c++") == {fixtures.task.pk, drafts}
    assert search_ids(client, q="t", q_not="drafts") == {old}
    results = client.get("/search", {"q": "t", "q_not": "drafts"}).json()["data"]
    assert [result["id"] for result in results] == [old]


def test_query_of_more_than_20_words_is_refused(fixtures, as_):
    client = as_(fixtures.ada)

    for name in ("q", "q_not"):
        assert client.get("/tasks", {name: "- " * MAX_TERMS}).status_code == 200
        r = client.get("/tasks", {name: "- " * (MAX_TERMS + 1)})
        assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, name)
