"""Requests get an answer in time while PostgreSQL is frozen or away, or a row is locked."""

from __future__ import annotations

import pytest

from conftest import PROOF
from taskflow.tests import database_faults
from taskflow.tests.database_faults import FAULTS, start_both

IN_TIME = 6.0  # seconds for every answer during an outage
SOON = 2.0  # seconds, on a machine that is busy with other tests
pytestmark = [
    pytest.mark.slow,
    pytest.mark.proof,
    pytest.mark.one_database,  # each test starts a PostgreSQL of its own
    pytest.mark.skipif("not sys.platform.startswith('linux')"),
]


@pytest.fixture(params=["", "?pool=true"], ids=["own connections", "pool"], scope="module")
def running(request):
    with start_both(request.param) as both:
        yield both


def seconds():
    return database_faults.SECONDS if PROOF else 8.0


def run(name, running):
    result = FAULTS[name](*running, seconds())
    print(f"\n{name}: a write succeeds {result.recovered_after:.1f} s later")
    for request, answers in result.answers.items():
        print(f"  {request}: {answers}")
    assert result.recovered_after < SOON
    assert not any(found.without_retry_after for found in result.answers.values())
    return result.answers


@pytest.mark.parametrize(
    ("fault", "code"), [("frozen", "database_silent"), ("away", "unavailable")]
)
def test_requests_are_refused_in_time_while_the_database_is(fault, code, running):
    answers = run(fault, running)

    assert answers["GET /livez"].statuses.keys() == {"200"}
    assert answers["GET /livez"].worst < SOON / 2
    assert answers["GET /readyz"].statuses.keys() == {"503"}
    for name in ("reads", "writes"):
        assert answers[name].statuses[f"503 {code}"] > 0.9 * len(answers[name].seconds)
        assert answers[name].percentile(0.5) < SOON / 2
    assert max(found.worst for found in answers.values()) < IN_TIME + 0.5


def test_locked_row_of_one_tenant_does_not_slow_reads_of_another(running):
    answers = run("hot row", running)

    for name in ("reads of another", "reads of the tenant", "writes of another"):
        assert answers[name].statuses.keys() == {"200"}
        assert answers[name].percentile(0.9) < SOON / 2
    assert "200" not in answers["writers of the locked row"].statuses
