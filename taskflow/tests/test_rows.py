"""build() makes the same rows as the classes of the models."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.apps import apps
from django.db.models.expressions import DatabaseDefault

from taskflow.db.rows import build
from tasks.models import Project, Task

MODELS = [model for model in apps.get_models() if model._meta.app_label in ("tasks", "accounts")]
MODELS += apps.get_app_config("audit").get_models()


def state_of(row):
    """All attributes; of times and of defaults of the database the class, since each row has its
    own.
    """
    attributes = {
        name: type(value) if isinstance(value, (DatabaseDefault, datetime)) else value
        for name, value in vars(row).items()
        if name != "_state"
    }
    return attributes, row._state.adding, row._state.db, dict(row._state.fields_cache)


def values_of(model):
    """A row for each relation and a text or number for each other field, without the defaults."""
    values = {}
    for field in model._meta.concrete_fields:
        if field.is_relation:
            values[field.name] = field.related_model(pk=7)
        elif not field.generated and not field.primary_key and not field.has_default():
            values[field.name] = None if field.null else "7"
    return values


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_built_row_has_the_attributes_of_a_row_of_the_class(model):
    for values in ({}, values_of(model)):
        assert state_of(build(model, values)) == state_of(model(**values))


def test_built_rows_share_no_default():
    first, second = build(Task, {}), build(Task, {})

    first.metadata["a"] = 1

    assert second.metadata == {}


def test_relation_can_be_given_as_its_id_or_as_none():
    for values in ({"parent_id": 3}, {"parent": None}, {"project": Project(pk=4)}):
        assert state_of(build(Task, values)) == state_of(Task(**values))


def test_unknown_column_is_refused():
    with pytest.raises(TypeError, match="Task has no column titel"):
        build(Task, {"titel": "x"})
