"""Check that all stacks give the same responses, before anything is measured."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.common import Failed, say
from benchmarks.stacks import Running
from benchmarks.workloads import Request, Workload

SAMPLES = 5  # requests of each workload
INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(?:Z|\+00:00)")


def check_answers(servers: Sequence[Running], workloads: Sequence[Workload]) -> None:
    """Raise Failed unless the stacks answer reads with the same JSON, writes with the same form."""
    for workload in workloads:
        serving = [server for server in servers if server.serves(workload)]
        if not serving or workload.connections:
            continue
        workload.prepare(servers[0].database)
        for request in workload.requests[:SAMPLES]:
            first, *others = [(server.name, answer_of(server, request)) for server in serving]
            expected = plain(first[1]) if workload.events == 0 else form(first[1])
            for name, answer in others:
                actual = plain(answer) if workload.events == 0 else form(answer)
                if pointer := difference(expected, actual):
                    raise Failed(
                        f"{workload.name}: {name} answers otherwise than {first[0]}"
                        f" to {request.method} {request.path}: {pointer}"
                    )
        kind = "the same documents" if workload.events == 0 else "documents of the same form"
        say(f"  {workload.name}: {kind} from {', '.join(server.name for server in serving)}")


def answer_of(server: Running, request: Request) -> Any:
    answer = server.fetch_rows(request.stamped(f"for-{server.name}"))
    if not 200 <= answer.status <= 299:
        raise Failed(
            f"{server.name} answers {answer.status} to {request.method} {request.path}:"
            f" {answer.body}"
        )
    return json.loads(answer.body)


def plain(document: Any) -> Any:
    """Return the value without differences that do not matter: cursors, and Z for +00:00."""
    if isinstance(document, dict):
        return {
            name: (value is not None) if name == "next_cursor" else plain(value)
            for name, value in document.items()
        }
    if isinstance(document, list):
        return [plain(value) for value in document]
    if isinstance(document, str) and (instant := INSTANT.fullmatch(document)):
        head, _, fraction = instant[1].partition(".")
        return f"{head}.{fraction:0<6}"
    return document


def form(document: Any) -> Any:
    """Return the names of all levels, and the lengths of the lists."""
    if isinstance(document, dict):
        return {name: form(value) for name, value in document.items()}
    if isinstance(document, list):
        return [form(value) for value in document]
    return "null" if document is None else "value"


def difference(one: Any, other: Any, pointer: str = "") -> str:
    """Return the first difference of two JSON values, or an empty string."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{pointer}: {sorted(one.keys() ^ other.keys())} in one only"
        pairs = [(f"{pointer}/{name}", one[name], other[name]) for name in one]
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{pointer}: {len(one)} and {len(other)} elements"
        pairs = [(f"{pointer}/{n}", a, b) for n, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return "" if one == other else f"{pointer}: {one!r} and {other!r}"
    return next((first for p, a, b in pairs if (first := difference(a, b, p))), "")
