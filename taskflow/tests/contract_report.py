"""Reports how many responses the test client has compared with the OpenAPI document.

A plugin of pytest. The line at the end of a run counts the responses of all its processes. A run of
the whole suite fails if it never got one of the successful responses that the document promises.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from taskflow.tests.contract import api_contract, api_document

EVERYDAY = ("", "not slow")  # the option -m of runs that have all everyday tests
OUTPUT = "validated_responses"  # in what a process of xdist returns
MAX_LISTED = 20
Response = tuple[str, str]  # such as ("GET /api/v1/tasks", "200")


class Report:
    """The counts of validated responses of a run, by operation and status."""

    def __init__(self) -> None:
        self.counts: Counter[Response] = Counter()

    def line(self) -> str:
        """Return the sentence for the end of a run."""
        operations = {operation for operation, _ in self.counts}
        statuses: Counter[str] = Counter()
        for (_, status), count in self.counts.items():
            statuses[status] += count
        by_status = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        documented = sum(len(operation["responses"]) for operation in list_operations().values())
        return (
            f"{self.counts.total()} responses validated against the OpenAPI document: of"
            f" {len(operations)} of its {len(list_operations())} operations, with"
            f" {len(self.counts)} of their {documented} statuses. By status: {by_status}"
        )

    def missing(self) -> list[Response]:
        """Return the successful responses of the document that the run never got."""
        return sorted(list_promises() - self.counts.keys())


def list_operations() -> dict[str, Any]:
    """Return the operations of the document by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in api_document()["paths"].items()
        for method, operation in methods.items()
    }


def list_promises() -> set[Response]:
    """Return every operation of the document with each of its statuses below 400."""
    return {
        (name, status)
        for name, operation in list_operations().items()
        for status in operation["responses"]
        if status < "400"
    }


report = Report()


def is_whole_suite(config: pytest.Config) -> bool:
    """Return whether the run has at least the everyday tests of all modules on SQLite.

    They get every successful response. On PostgreSQL, some of them are slow.
    """
    if config.option.markexpr not in EVERYDAY:
        return False
    roots = {str(Path(config.rootpath, name)) for name in config.getini("testpaths")}
    named = {str(Path(config.invocation_params.dir, name)) for name in config.args}
    return named == roots and not config.option.keyword and not config.option.lf


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of a process of xdist that has ended."""
    counts = json.loads(getattr(node, "workeroutput", {}).get(OUTPUT, "[]"))
    report.counts.update({(operation, status): count for operation, status, count in counts})


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    own = api_contract().validated if api_contract.cache_info().currsize else Counter()
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # in a process of xdist
        output[OUTPUT] = json.dumps([[*response, count] for response, count in own.items()])
        return
    report.counts.update(own)
    whole = is_whole_suite(session.config) and session.exitstatus == pytest.ExitCode.OK
    if whole and report.missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not report.counts:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line(report.line())
    if is_whole_suite(config) and (missing := report.missing()):
        terminalreporter.write_line(f"{len(missing)} responses of the document never came:")
        for operation, status in missing[:MAX_LISTED]:
            terminalreporter.write_line(f"  {operation} {status}")
