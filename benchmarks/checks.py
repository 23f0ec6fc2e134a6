"""Before anything is measured: do all stacks give the same answers?"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.common import Failed, say
from benchmarks.stacks import Running
from benchmarks.workloads import Request, Workload

SAMPLES = 5  # requests of each workload
INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(?:Z|\+00:00)")


def check_answers(servers: Sequence[Running], workloads: Sequence[Workload]) -> None:
    """Reads must be answered with the same document, writes with one of the same form."""
    for workload in workloads:
        for request in workload.requests[:SAMPLES]:
            first, *others = [(server.name, answer_of(server, request)) for server in servers]
            wanted = plain(first[1]) if workload.events == 0 else form(first[1])
            for name, answer in others:
                got = plain(answer) if workload.events == 0 else form(answer)
                if place := difference(wanted, got):
                    raise Failed(
                        f"{workload.name}: {name} answers otherwise than {first[0]}"
                        f" to {request.method} {request.path}: {place}"
                    )
        kind = "the same documents" if workload.events == 0 else "documents of the same form"
        say(f"  {workload.name}: {kind} from {', '.join(server.name for server in servers)}")


def answer_of(server: Running, request: Request) -> Any:
    if request.body is not None:
        stamped = request.json.replace("@STAMP", f"for {server.name}")
        request = replace(request, body=json.loads(stamped))
    answer = server.ask(request)
    if not 200 <= answer.status <= 299:
        raise Failed(
            f"{server.name} answers {answer.status} to {request.method} {request.path}:"
            f" {answer.body}"
        )
    return json.loads(answer.body)


def plain(document: Any) -> Any:
    """The same for the same content: a cursor is each stack's own, and Z is +00:00."""
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
    """The names in it, however deep, and how long its lists are."""
    if isinstance(document, dict):
        return {name: form(value) for name, value in document.items()}
    if isinstance(document, list):
        return [form(value) for value in document]
    return "null" if document is None else "value"


def difference(one: Any, other: Any, place: str = "") -> str:
    """Where two documents differ first; empty when they do not."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{place}: {sorted(one.keys() ^ other.keys())} in one only"
        pairs = [(f"{place}/{name}", one[name], other[name]) for name in one]
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{place}: {len(one)} and {len(other)} elements"
        pairs = [(f"{place}/{n}", a, b) for n, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return "" if one == other else f"{place}: {one!r} and {other!r}"
    return next((found for p, a, b in pairs if (found := difference(a, b, p))), "")
