"""A worker that did not run for a while writes for how long."""

from __future__ import annotations

import logging

import pytest

from taskflow.front import freezes
from taskflow.front.freezes import FreezeMonitor
from taskflow.metrics.definitions import registry
from taskflow.metrics.exposition import write_text

pytestmark = pytest.mark.one_database


@pytest.fixture
def clock(monkeypatch):
    """The clocks that the monitor reads: seconds of real time, and of CPU."""
    clock = {"now": 1_000.0, "cpu": 5.0}
    monkeypatch.setattr(freezes, "read_clock", lambda: clock["now"])
    monkeypatch.setattr(freezes.time, "process_time", lambda: clock["cpu"])
    registry.lay_out()
    yield clock
    registry.lay_out()


def pass_time(clock, seconds, cpu=0.0):
    clock["now"] += seconds
    clock["cpu"] += cpu


def test_worker_that_runs_as_expected_writes_nothing(clock, caplog):
    monitor = FreezeMonitor()
    for _ in range(5):
        pass_time(clock, 0.9)
        monitor.check(expected=0.2)

    assert not caplog.records
    assert registry.values[registry.HEARTBEAT] == clock["now"]


@pytest.mark.parametrize(
    ("cpu", "cause"),
    [(0.1, "it was stopped, or the machine was"), (7.0, "one call has kept Python")],
)
def test_worker_that_was_frozen_writes_for_how_long_and_why(clock, caplog, cpu, cause):
    monitor = FreezeMonitor()
    pass_time(clock, 7.75, cpu)

    monitor.check(expected=0.25)
    monitor.check(expected=0.25)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"the worker did not run for 7.5 seconds: {cause}")
    assert (record.frozen_ms, record.cpu_ms) == (7_500, round(cpu * 1000))
    text = write_text(registry, [registry.values])
    assert "taskflow_freezes_total 1\n" in text
    assert "taskflow_frozen_seconds_total 7.5\n" in text
