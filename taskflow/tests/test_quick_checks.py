"""find_doubtful() is never more generous than clean_fields()."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.core.exceptions import ValidationError

from taskflow.db.columns import columns_of
from taskflow.db.computed import ComputedField
from taskflow.db.quick_checks import find_doubtful
from taskflow.db.rows import build
from taskflow.tests.test_rows import MODELS
from tasks.models import Priority, Task

LENGTHS = (0, 1, 7, 30, 50, 51, 63, 64, 100, 200, 201, 255, 256, 500, 501, 70_000)
VALUES = [
    *(date(2026, 1, 5), datetime(2026, 1, 5, tzinfo=UTC), -(2**70), -1, 32_768, 2**31, 2**70),
    *("x" * length for length in LENGTHS),
    *(None, True, False, 0, 1, 2.5, [], {}, ["x"], {"x": 1}, b"x"),
    *("todo", "done", "low", "urgent", "2026-01-05", "a@b.example", "not an e-mail", "#ff0000"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_surely_valid_value_is_accepted_and_not_changed_by_clean_fields(model):
    columns = [
        column
        for column in columns_of(model)
        if not (column.generated or column.is_relation or isinstance(column, ComputedField))
    ]
    for column in columns:
        others = {other.name for other in model._meta.get_fields()} - {column.name}
        for value in VALUES:
            row = build(model, {column.attname: value})
            if not find_doubtful(row, {column.name}):
                row.clean_fields(exclude=others)
                assert getattr(row, column.attname) is value


@pytest.mark.parametrize(
    ("name", "value"),
    [("title", "x" * 501), ("title", ""), ("title", None), ("status", "late"), ("priority", "")],
)
def test_bad_value_is_left_to_clean_fields(name, value):
    row = build(Task, {name: value})

    assert find_doubtful(row, {name}) == {name}
    with pytest.raises(ValidationError):
        row.clean_fields(exclude={f.name for f in Task._meta.get_fields()} - {name})


def test_usual_values_are_surely_valid():
    row = build(Task, {"title": "Pack", "status": "todo", "priority": Priority.LOW, "number": 7})

    assert find_doubtful(row) == set()
