"""How `make chaos` compares what was acknowledged with what is stored, and reports it."""

from __future__ import annotations

import pytest

from taskflow.tests.chaos import report as reports
from taskflow.tests.chaos.figures import Figures
from taskflow.tests.chaos.ledger import Ledger
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.samples import Sample, Samples

pytestmark = pytest.mark.one_database


class Rows:
    """A database whose tasks are given: id, title, title at the creation, status."""

    name, url = "given", ""

    def __init__(self, *rows):
        self.rows = list(rows)

    def execute(self, sql):
        return self.rows

    def close(self):
        pass


def filled_ledger():
    """One acknowledged task, one without an answer, and one bulk request of two tasks."""
    ledger = Ledger(created={"a": 1, "b": None}, bulks=[(["c", "d"], True)])
    ledger.states[1] = {"title": "renamed", "status": "done"}
    return ledger


WHOLE = [(1, "renamed", "a", "done"), (2, "c", "c", "todo"), (3, "d", "d", "todo")]


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (WHOLE, {}),
        ([*WHOLE, (4, "b", "b", "todo")], {}),  # it was written, but its answer was lost
        ([*WHOLE, (4, "b", "b", "todo"), (5, "b", "b", "todo")], {"doubled": 1}),
        (WHOLE[1:], {"lost": 3}),  # the task, its title and its status
        ([(9, "renamed", "a", "done"), *WHOLE[1:]], {"lost": 3}),  # with another id
        ([(1, "a", "a", "done"), *WHOLE[1:]], {"lost": 1}),
        (WHOLE[:2], {"lost": 1, "half-written": 1}),
        (WHOLE[:1], {"lost": 1}),
    ],
)
def test_ledger_finds_what_was_lost_doubled_and_half_written(rows, wrong):
    result = filled_ledger().compare(Rows(*rows))

    assert {kind: number for kind, number in result.items() if number} == wrong


def test_bulk_without_an_answer_may_be_missing_but_not_half_written():
    ledger = Ledger(bulks=[(["c", "d"], False)])

    assert not any(ledger.compare(Rows()).values())
    assert ledger.compare(Rows(WHOLE[1]))["half-written"] == 1


def test_ledger_counts_other_answers_than_successes_and_refusals():
    ledger = Ledger()
    ledger.statuses.update(["200", "201", "503", "507", "500", "404", "ConnectionResetError"])

    assert ledger.failed == {"500": 1, "404": 1}
    assert ledger.acknowledged == 2


@pytest.mark.parametrize(
    ("is_kept", "is_listed", "verdict", "has_failed"),
    [
        (True, False, "kept", False),
        (False, False, "BROKEN", True),
        (False, True, "SHORTFALL, known", False),
        (True, True, "kept, remove it from KNOWN_SHORTFALLS", True),
        (None, False, "not run", False),
        (None, True, "not run", False),
    ],
)
def test_report_fails_for_a_broken_promise_and_for_an_outdated_list(
    monkeypatch, is_kept, is_listed, verdict, has_failed
):
    listed = {("disk", "SQLite", "writes")} if is_listed else set()
    monkeypatch.setattr(reports, "KNOWN_SHORTFALLS", listed)
    lines: list[str] = []
    report = Report(show=lines.append)

    report.add("disk is full", "SQLite", "writes get 507", "3 × 503", is_kept=is_kept)

    assert lines == [f"| disk is full | SQLite | writes get 507 | 3 × 503 | {verdict} |"]
    assert report.has_failed is has_failed


def test_samples_of_a_period_include_requests_that_were_sent_before_it():
    samples = Samples([Sample(0, 5, "200"), Sample(3, 1, "503 unavailable"), Sample(9, 1, "200")])

    assert [s.at for s in samples.between(2, 6).all] == [0, 3]
    assert [s.at for s in samples.sent_between(2, 6).all] == [3]
    assert samples.first_success_after(4) == 6
    assert samples.first_success_after(20) is None


def test_growth_is_that_after_the_warm_up():
    flat, growing = Figures(), Figures()
    for minute in range(100):
        flat.add(minute, min(minute, 30))
        growing.add(minute, minute)

    assert flat.growth == pytest.approx(0, abs=0.5)
    assert growing.growth > 40
    assert growing.slope_per_hour == pytest.approx(60)
