"""Reports how many responses the test client has compared with the OpenAPI document.

A plugin of pytest. The line at the end of a run counts the responses of all its processes.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from taskflow.tests.contract import api_contract, api_document

OUTPUT = "validated_responses"  # in what a process of xdist returns
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


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of a process of xdist that has ended."""
    counts = json.loads(getattr(node, "workeroutput", {}).get(OUTPUT, "[]"))
    report.counts.update({(operation, status): count for operation, status, count in counts})


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    own = api_contract().validated if api_contract.cache_info().currsize else Counter()
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        report.counts.update(own)
    else:  # in a process of xdist
        output[OUTPUT] = json.dumps([[*response, count] for response, count in own.items()])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if report.counts:
        terminalreporter.write_line("")
        terminalreporter.write_line(report.line())
