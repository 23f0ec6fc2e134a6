"""The modules of the benchmark can be started, and their reports are complete. What they measure is
not tested.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from benchmarks import bench, report
from benchmarks.database import PLANNER_SETTINGS
from benchmarks.stacks import Memory, Sample
from benchmarks.workloads import OURS_ALONE, Request, Workload

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["bench", "claims", "growth", "sqlite", "waiting"])
def test_benchmark_module_prints_its_help(module):
    # pytest-django sets this variable. `make bench` does not.
    environment = {n: v for n, v in os.environ.items() if n != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", "--help"]

    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
    assert f"benchmarks.{module}" in run.stdout


def read_options(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    return bench.read_options()


def sample(server_cpu, p99=9.0):
    return Sample(
        requests=200,
        seconds=2.0,
        p50=4.0,
        p90=8.0,
        p99=p99,
        server_cpu=server_cpu,
        database_cpu=1.0,
    )


def measured():
    """Return results of three rounds: of all stacks, of TaskFlow alone, and with more clients."""
    one = Workload("one", "one task", [])
    results = report.Results(["taskflow", "usual", "tuned", "bare"])
    alone = Workload("if-match", "the same with If-Match", [], stacks=OURS_ALONE)
    results.workloads = {w.name: w for w in (one, one.at(16), alone)}
    for name, workload in results.workloads.items():
        for stack in results.stacks:
            if not workload.stacks or stack in workload.stacks:
                results.samples[name, stack] = [sample(cpu) for cpu in (3.0, 1.0, 2.0)]
    for stack in results.stacks:
        results.memory[stack], results.starts[stack] = [Memory(80, 60, 90)], [1.0]
    return results


@pytest.fixture
def text(monkeypatch):
    return report.render(read_options(monkeypatch), measured())


def test_figures_are_median_least_and_greatest(text):
    assert "2.00 (1.00–3.00)" in text


def test_row_that_peers_do_not_offer_has_taskflow_alone(text):
    section = text.partition("### if-match")[2].partition("\n## ")[0]

    assert "TaskFlow alone: the peers do not offer it" in section
    assert "usual    |" not in section


def test_connections_are_compared(text):
    lines = text.partition("## Connections")[2].partition("## Requests")[0].splitlines()
    rows = [
        [cell.strip() for cell in line.split("|")[1:3]]
        for line in lines
        if line.startswith("| one")
    ]

    assert rows == [["one", "4"], ["one", "16"]]


def test_report_says_how_the_interpreter_was_built_and_what_gc_does(text):
    assert "profile-guided optimizations" in text
    assert "gc.freeze()" in text


def test_short_trial_takes_explicit_options_nevertheless(monkeypatch):
    options = read_options(monkeypatch, "--short", "--rounds", "2")

    assert (options.short, options.rounds, options.stacks) == (True, 2, ["taskflow", "usual"])


def test_server_has_the_planner_settings_of_taskflow():
    assert PLANNER_SETTINGS == {
        name: value for name, value in settings.SERVER_SETTINGS.items() if name in PLANNER_SETTINGS
    }
    assert not [
        name
        for name in settings.SERVER_SETTINGS.keys() - PLANNER_SETTINGS.keys()
        if not name.endswith("_timeout")
    ]


def test_sections_of_other_programs_are_kept_in_their_order(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")

    for name in ("SQLite", "Growth", "Claims", "Growth"):
        report.write_section(name, f"{name} was measured.\n")
    report.write("# Results\n\n## Requests\n")

    assert report.RESULTS.read_text() == (
        "# Results\n\n## Requests\n\n## Growth\n\nGrowth was measured.\n"
        "\n## Claims\n\nClaims was measured.\n\n## SQLite\n\nSQLite was measured.\n"
    )


def test_stamp_is_different_in_each_run():
    request = Request("PATCH", "/", "t", {"title": "A @STAMP"}, ("Idempotency-Key", "@STAMP-1"))

    stamped = request.stamped("r1")

    assert (stamped.body, stamped.header) == ({"title": "A r1"}, ("Idempotency-Key", "r1-1"))
    assert request.line.endswith('{"title":"A @STAMP"}\tIdempotency-Key: @STAMP-1\n')
