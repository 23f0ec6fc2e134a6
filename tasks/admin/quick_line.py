"""One line of text as a new task: `Pack flag #luggage @bob !high tomorrow WEB`.

`#` begins a tag, `@` the handle of the assignee, `!` the priority and `blocker:` the key of a task
that has to be done first, anywhere in the line. A day
and the key of a project are read at the end of the line. The rest is the title. Words in double
quotes always belong to the title.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.utils.dates import WEEKDAYS as NAMES_OF_WEEKDAYS
from django.utils.translation import gettext

from taskflow.http.schema import FIRST_YEAR, LAST_YEAR
from tasks.models import Priority

WORD = re.compile(r'"([^"]*)"|(\S+)')
DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
DAY_WITH_DOTS = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
BLOCKER = re.compile(r"blocker:([a-z][a-z0-9]{1,9}-[0-9]{1,9})", re.ASCII | re.IGNORECASE)
IN_DAYS = re.compile(r"([0-9]{1,3})d")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class QuickTask:
    """What a line says. `problems` are sentences about parts that cannot be understood."""

    title: str
    tags: tuple[str, ...] = ()
    assignee: str | None = None  # the handle, without @
    priority: Priority | None = None
    due_on: date | None = None
    project: str | None = None  # the key
    blocked_by: tuple[str, ...] = ()  # keys of tasks, in capitals
    problems: tuple[str, ...] = ()


@dataclass
class _Parts:
    """The parts of a line that have been read so far."""

    title: list[tuple[str, bool]] = field(default_factory=list)  # words, and whether in quotes
    tags: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    priorities: list[str] = field(default_factory=list)
    blockers: list[str] = field(default_factory=list)


def parse_quick_add(line: str, *, today: date, project_keys: Collection[str]) -> QuickTask:
    """Return what the line says.

    `today` is the day of the tenant, from which `tomorrow`, `friday` and `3d` are counted.
    `project_keys` are the keys that count as projects, in capitals: the visible ones.
    """
    parts = _read_words(line)
    due_on, project = None, None
    while parts.title and not parts.title[-1][1]:
        word = parts.title[-1][0]
        if due_on is None and (day := read_day(word, today)):
            due_on = day
        elif project is None and word in project_keys:
            project = word
        else:
            break
        parts.title.pop()
    return QuickTask(
        title=" ".join(word for word, _ in parts.title),
        tags=tuple(dict.fromkeys(parts.tags)),
        assignee=parts.assignees[0] if parts.assignees else None,
        priority=_priority_of(parts),
        due_on=due_on,
        project=project,
        blocked_by=tuple(dict.fromkeys(parts.blockers)),
        problems=tuple(_find_problems(parts)),
    )


def _read_words(line: str) -> _Parts:
    parts = _Parts()
    marks = {"#": parts.tags, "@": parts.assignees, "!": parts.priorities}
    for quoted, word in WORD.findall(line):
        if word and len(word) > 1 and word[0] in marks:
            marks[word[0]].append(word[1:])
        elif match := BLOCKER.fullmatch(word):
            parts.blockers.append(match[1].upper())
        elif word or quoted.strip():
            parts.title.append((word or quoted.strip(), not word))
    return parts


def read_day(word: str, today: date) -> date | None:
    """Return the day that a word means: `today`, `tomorrow`, the name of a weekday (the next one
    after today), `3d` (in 3 days), 2026-12-01 or 01.12.2026. None for other words.

    The names of days are read in English and in the language of the page.
    """
    lower = word.lower()
    if lower in ("today", gettext("today")):
        return today
    if lower in ("tomorrow", gettext("tomorrow")):
        return today + timedelta(days=1)
    for weekday, name in enumerate(WEEKDAYS):
        if lower in (name, str(NAMES_OF_WEEKDAYS[weekday]).lower()):
            return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)
    if match := IN_DAYS.fullmatch(lower):
        return today + timedelta(days=int(match[1]))
    if match := DAY.fullmatch(word):
        return _build_day(*map(int, match.groups()))
    if match := DAY_WITH_DOTS.fullmatch(word):
        return _build_day(*map(int, reversed(match.groups())))
    return None


def _build_day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day) if FIRST_YEAR <= year <= LAST_YEAR else None
    except ValueError:
        return None


def _priority_of(parts: _Parts) -> Priority | None:
    return next(filter(None, map(read_priority, parts.priorities)), None)


def read_priority(word: str) -> Priority | None:
    """Return the priority of this name, in English or in the language of the page."""
    names = {name.lower(): p for p in Priority for name in (str(p.label), p.value)}
    return names.get(word.lower())


def _find_problems(parts: _Parts) -> list[str]:
    problems = []
    if not parts.title:
        problems.append(gettext("There is no title. Write what is to be done."))
    if len({*parts.assignees}) > 1:
        names = ", ".join(f"@{handle}" for handle in parts.assignees)
        sentence = gettext("A task has one assignee, and the line names several: %(names)s.")
        problems.append(sentence % {"names": names})
    priorities = [read_priority(text) for text in parts.priorities]
    if None in priorities:
        unknown = parts.priorities[priorities.index(None)]
        sentence = gettext("“!%(word)s” is no priority. Write !low, !medium or !high.")
        problems.append(sentence % {"word": unknown})
    elif len({*priorities}) > 1:
        problems.append(gettext("A task has one priority, and the line has several."))
    return problems
