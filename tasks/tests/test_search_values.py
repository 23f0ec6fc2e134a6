"""Search for any text: hits contain every word, and every stored text can be found."""

from __future__ import annotations

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from conftest import PROOF
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.changes.tasks import create_task
from tasks.queries.search import MAX_TERMS, TERM

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
FOLDINGS = [
    str.casefold,
    lambda t: t.lower().replace("ς", "σ"),
    lambda t: t.replace("İ", "i").lower(),  # PostgreSQL's, letter by letter
]


def contains(whole, part):
    return any(fold(part) in fold(whole) for fold in FOLDINGS)


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


@pytest.mark.sampled(2)
@pytest.mark.parametrize("q", [text for text in DROPPED if text not in ("!", "-", "--", '"')])
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
