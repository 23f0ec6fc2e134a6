"""Pointers name the fields that the client sent.

A body names a row by `assignee` or by `assignee_id`. Actions do not know which of the two was sent.
"""

from __future__ import annotations

from copy import copy

from taskflow.http.errors import Problem
from taskflow.http.parsing import parse_json
from taskflow.http.request import Request

ID_SUFFIX = "_id"


def point_to_sent_names(problem: Problem, request: Request) -> Problem:
    """Return the problem with pointers to `assignee` in place of `assignee_id`, or the reverse, if
    only that name is in the JSON body. Other pointers stay as they are.
    """
    if request.content_type != "application/json" or not any(
        "pointer" in e for e in problem.errors
    ):
        return problem
    try:
        body = parse_json(request.body)
    except ValueError:
        return problem
    return point_into_body(problem, body)


def point_into_body(problem: Problem, body: object) -> Problem:
    """Return the problem with pointers to the names that this JSON body has."""
    changed = copy(problem)
    changed.errors = [
        {**error, "pointer": _find_sent_pointer(str(error["pointer"]), body)}
        if "pointer" in error
        else error
        for error in problem.errors
    ]
    return changed


def _find_sent_pointer(pointer: str, body: object) -> str:
    names, node = pointer.split("/"), body
    for n, name in enumerate(names[1:], 1):
        if isinstance(node, dict):
            twin = name.removesuffix(ID_SUFFIX) if name.endswith(ID_SUFFIX) else name + ID_SUFFIX
            if name not in node and twin in node:
                names[n] = twin
            node = node.get(names[n])
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            break
    return "/".join(names)
