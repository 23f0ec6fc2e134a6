"""One line of text becomes a task."""

from __future__ import annotations

from datetime import date

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from tasks.admin.quick_line import WEEKDAYS, QuickTask, parse_quick_add, read_day
from tasks.models import Priority

pytestmark = pytest.mark.one_database

TODAY = date(2026, 11, 27)  # a Friday
KEYS = {"WEB", "ENG"}
plain = st.text(
    st.characters(categories=["Ll", "Lu", "Nd"], exclude_characters='"'), min_size=1, max_size=8
)
titles = st.lists(plain, min_size=1, max_size=5)
tags = st.lists(plain, unique=True, max_size=4)


def parse(line: str) -> QuickTask:
    return parse_quick_add(line, today=TODAY, project_keys=KEYS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "Pack flag #luggage @bob !high tomorrow WEB",
            QuickTask("Pack flag", ("luggage",), "bob", Priority.HIGH, date(2026, 11, 28), "WEB"),
        ),
        ("Pack flag", QuickTask("Pack flag")),
        ("WEB Pack flag", QuickTask("WEB Pack flag")),
        ("Pack flag WEB today", QuickTask("Pack flag", due_on=TODAY, project="WEB")),
        ("Pack today flag", QuickTask("Pack today flag")),
        ('Plan "friday"', QuickTask("Plan friday")),
        ('Say "#hash @home !now"', QuickTask("Say #hash @home !now")),
        ("Plan friday", QuickTask("Plan", due_on=date(2026, 12, 4))),
        ("Plan Monday", QuickTask("Plan", due_on=date(2026, 11, 30))),
        ("Plan 3d", QuickTask("Plan", due_on=date(2026, 11, 30))),
        ("Plan 2026-12-24", QuickTask("Plan", due_on=date(2026, 12, 24))),
        ("Plan 2026-02-30", QuickTask("Plan 2026-02-30")),
        ("Plan 24.12.2026", QuickTask("Plan", due_on=date(2026, 12, 24))),
        ("Plan 30.02.2026", QuickTask("Plan 30.02.2026")),
        ("Plan today tomorrow", QuickTask("Plan today", due_on=date(2026, 11, 28))),
        ("C# and # and @ and !", QuickTask("C# and # and @ and !")),
        ("Mail a@b.example", QuickTask("Mail a@b.example")),
        ("Plan web", QuickTask("Plan web")),
        ("#a Plan #b #a", QuickTask("Plan", ("a", "b"))),
        ("Plan !HIGH", QuickTask("Plan", priority=Priority.HIGH)),
    ],
)
def test_line_is_read_as_written(line, expected):
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Plan morgen", QuickTask("Plan", due_on=date(2026, 11, 28))),
        ("Plan tomorrow", QuickTask("Plan", due_on=date(2026, 11, 28))),
        ("Plan Montag !hoch", QuickTask("Plan", (), None, Priority.HIGH, date(2026, 11, 30))),
    ],
)
def test_words_of_a_line_are_in_the_language_of_the_page_or_english(line, expected):
    with translation.override("de"):
        assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no title"),
        ("  #a @bob WEB ", "no title"),
        ('""', "no title"),
        ("Plan @ada @bob", "one assignee"),
        ("Plan !urgent", "“!urgent” is no priority"),
        ("Plan !low !high", "one priority"),
    ],
)
def test_part_that_is_not_understood_is_a_sentence(line, words):
    (problem,) = parse(line).problems
    assert words in problem


@given(titles, tags, st.none() | plain, st.none() | st.sampled_from(Priority),
       st.none() | st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.none() | st.sampled_from(sorted(KEYS)))  # fmt: skip
@pytest.mark.slow
def test_written_parts_are_read_back(title, tag_names, handle, priority, day, project):
    quoted = '"' + " ".join(title) + '"'
    words = [f"#{name}" for name in tag_names] + [f"@{handle}"] * bool(handle)
    words += [f"!{priority}"] * bool(priority) + [str(day)] * bool(day) + [project or ""]

    found = parse(" ".join([quoted, *words]))

    assert found == QuickTask(" ".join(title), tuple(tag_names), handle, priority, day, project)


@given(st.text())
@pytest.mark.slow
def test_every_line_is_read_without_an_error(line):
    found = parse(line)

    assert found.title or found.problems
    assert found.title == found.title.strip()


@given(st.sampled_from(WEEKDAYS), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_weekday_is_the_next_one_after_today(name, today):
    day = read_day(name, today)

    assert 1 <= (day - today).days <= 7
    assert WEEKDAYS[day.weekday()] == name
