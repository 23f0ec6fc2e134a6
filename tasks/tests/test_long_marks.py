"""Texts with very many combining marks: they are folded in linear time, with the same results."""

from __future__ import annotations

import random
import time

import pytest

from taskflow.db.text import fold_key, search_text
from tasks.migrations import _folding, _words

pytestmark = pytest.mark.one_database

# Marks of several classes, characters whose decomposition begins with a mark or ends with one, and
# letters.
CHARACTERS = "a\u0315\u0300\u0345\u0344\u0f73\uff9e\uff76\u0323\u0307\u1e69\u03b1\u1fb7\u3099\u0f75"


def random_texts():
    chance = random.Random(7)
    for _ in range(400):
        characters = [chance.choice(CHARACTERS) for _ in range(chance.choice([2, 5, 15]))]
        yield "".join(chance.choice(characters) for _ in range(chance.choice([20, 40, 120])))


def test_long_runs_of_marks_have_the_stored_results():
    for text in random_texts():
        assert fold_key(text) == _folding.fold_key(text), ascii(text)
        assert search_text(text) == _words.search_text(text), ascii(text)


@pytest.mark.parametrize("marks", ["\u0315\u0300", "\u0f73", "\uff9e\u0315", "\u0344\u0315"])
def test_time_grows_with_the_number_of_marks_and_not_with_its_square(marks):
    search_text("a" + marks * 100)

    def seconds(length):
        started = time.perf_counter()
        search_text("a" + marks * (length // len(marks)))
        return time.perf_counter() - started

    assert seconds(60_000) < 30 * seconds(6_000) + 0.2  # with its square: 100 times
