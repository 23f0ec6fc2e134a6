"""The dashboard, the alert rules and docs/monitoring.md name metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskflow import database_readings, monitoring
from taskflow.api import api
from taskflow.error_codes import ERROR_CODES
from taskflow.metrics import definitions
from taskflow.metrics.families import Histogram
from taskflow.metrics.processes import count_connections, read_processes

pytestmark = pytest.mark.one_database

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "monitoring.md").read_text()
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PROMETHEUS_LABELS = {"instance", "job", "le"}  # that Prometheus adds, and those of histograms


def known_metrics() -> dict[str, set[str]]:
    """The labels of each metric, by its name."""
    labels = {family.name: set(family.labels) for family in definitions.FAMILIES}
    for family in definitions.FAMILIES:
        if isinstance(family, Histogram):
            del labels[family.name]
            for part in ("bucket", "sum", "count"):
                labels[f"{family.name}_{part}"] = set(family.labels)
    readings = [
        *read_processes({}),
        monitoring.describe_version(),
        monitoring.read_heartbeats({}),
        count_connections(1),
        *database_readings.as_readings(dict.fromkeys(database_readings.READINGS, 1.0)),
    ]
    return labels | {reading.name: set(reading.labels) for reading in readings}


METRICS = known_metrics()
VALUES = {
    "operation": {*(api.get_openapi_operation_id(o) for o in api.list_operations())}
    | {*definitions.PAGES, definitions.NOT_BEGUN},
    "code": {code for codes in ERROR_CODES.values() for code in codes},
    "cause": {*definitions.RETRY_CAUSES, *definitions.DATABASE_CAUSES},
    "lane": {*definitions.LANES},
    "status": {*definitions.STATUSES},
}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for rule in RULES:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = [pytest.param(text, id=f"{name} {n}") for n, (name, text) in enumerate(expressions())]


@pytest.mark.sampled(1_000)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression_names_metrics_and_labels_that_exist(expression):
    selectors = re.findall(r"\b(taskflow_\w+)(?:{([^}]*)})?", expression)
    assert selectors or expression.startswith("up{")

    for name, matchers in selectors:
        assert name in METRICS
        for label, operator, value in re.findall(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"', matchers):
            assert label in METRICS[name] | PROMETHEUS_LABELS
            if operator == "=" and label in VALUES:
                assert value in VALUES[label]
        named = ",".join(re.findall(r"by \(([^)]*)\)", expression))
        grouped = set(re.findall(r"\w+", named))
        assert grouped <= METRICS[name] | PROMETHEUS_LABELS
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
@pytest.mark.sampled(1_000)
def test_legend_of_a_panel_names_labels_of_its_metrics(panel):
    for target in panel["targets"]:
        names = re.findall(r"\btaskflow_\w+", target["expr"])
        labels = set().union(*(METRICS[name] for name in names)) | PROMETHEUS_LABELS
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_panels_of_the_dashboard_do_not_overlap_and_have_ids_of_their_own():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(set(ids)) == len(ids)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_metrics_in_the_docs_are_those_that_exist():
    named = {name.removesuffix("_bucket") for name in re.findall(r"`(taskflow_\w+)", PAGE)}
    workers = {name for name in METRICS if name.startswith("taskflow_worker_")}
    expected = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRICS} - workers
    others = {"taskflow_worker_"}  # `taskflow_worker_…{worker}`, whose ends follow

    assert named - others == expected
    for name in workers:
        assert f"`{name.removeprefix('taskflow_worker_')}`" in PAGE


def test_each_alert_is_explained_with_what_to_do():
    explained = dict(re.findall(r"^\| `(TaskFlow\w+)` \| (.+) \|$", PAGE, re.M))

    assert explained.keys() == {rule["alert"] for rule in RULES}
    assert all(text.count(" | ") == 1 for text in explained.values()), "what it means, what to do"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_rule_has_a_severity_and_a_summary(rule: dict[str, Any]):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")


needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is in Debian's prometheus"
)


def test_rule_for_a_frozen_worker_does_not_need_every_scrape():
    """Scrapes that reach the frozen worker fail, and a series with gaps resets `for`."""
    (rule,) = (rule for rule in RULES if rule["alert"] == "TaskFlowWorkerFrozen")

    assert "max_over_time(taskflow_worker_heartbeat_age_seconds[" in rule["expr"]
    assert "for" not in rule


@pytest.mark.slow
@needs_promtool
def test_promtool_accepts_the_rules():
    command = ["promtool", "check", "rules", str(DOCS / "alerts.yml")]

    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.slow
@needs_promtool
def test_frozen_worker_that_fails_half_of_the_scrapes_is_reported(tmp_path):
    alert = {
        "exp_labels": {"severity": "page", "instance": "a", "worker": "2"},
        "exp_annotations": {"summary": "Worker 2 on a has not run for 1m 45s."},
    }
    test = {
        "interval": "15s",
        "input_series": [
            {
                "series": 'taskflow_worker_heartbeat_age_seconds{instance="a",worker="2"}',
                "values": "0 0 15 stale 45 stale 75 stale 105",
            }
        ],
        "alert_rule_test": [
            {"eval_time": "2m", "alertname": "TaskFlowWorkerFrozen", "exp_alerts": [alert]}
        ],
    }
    file = tmp_path / "test.yml"
    rules = {"rule_files": [str(DOCS / "alerts.yml")], "evaluation_interval": "15s"}
    file.write_text(yaml.safe_dump(rules | {"tests": [test]}))

    ended = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout + ended.stderr
