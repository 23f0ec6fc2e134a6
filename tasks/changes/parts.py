"""Find everything that the rules refuse in a change, of which check() raises the first problem.

A change is divided into parts with the fields that one rule compares, and each part is checked by
itself. Only imports do this, for the rows that are refused: it would slow down every other write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from taskflow.audit.values import FieldValues
from taskflow.http.errors import Invalid, Problem

# By the field that is named if a problem names none: the fields that its rule reads.
FIELDS_OF_RULE: Mapping[str, tuple[str, ...]] = {
    "assignee": ("assignee",),
    "status": ("status", "outcome"),
    "due_on": ("due_on", "due_date"),
    "tags": ("tags",),
    "external_ref": ("external_ref",),
    "parent": ("parent", "status"),
    "blocked_by": ("blocked_by",),
}
Check = Callable[[], None]


def divide(values: FieldValues) -> Iterator[tuple[str, FieldValues]]:
    """Yield the values of each rule that reads one of them, with the field that names the rule."""
    for name, fields in FIELDS_OF_RULE.items():
        if fields[0] in values or (name != "parent" and any(f in values for f in fields)):
            yield name, {field: values[field] for field in fields if field in values}


def find_all_problems(first: Problem, checks: Iterable[tuple[str, Check]]) -> Problem:
    """Return a problem with the errors of all checks, each with a pointer to a field.

    `first` is what the check of the whole change has raised. Its errors come last, unless one of
    the checks has raised them too.
    """
    found: dict[tuple[object, object], Mapping[str, object]] = {}
    for name, check in checks:
        try:
            check()
        except Problem as problem:
            for error in _errors_of(problem):
                found.setdefault(_identity(error), {"pointer": f"#/{name}", **error})
    for error in _errors_of(first):
        found.setdefault(_identity(error), error)
    return Invalid(first.detail, code=first.code, errors=list(found.values()))


def _errors_of(problem: Problem) -> list[Mapping[str, object]]:
    return list(problem.errors) or [{"code": problem.code, "detail": problem.detail}]


def _identity(error: Mapping[str, object]) -> tuple[object, object]:
    return error["code"], error["detail"]
