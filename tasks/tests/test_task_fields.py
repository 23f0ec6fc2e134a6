"""Every writable field of a task is in responses, CSV, the admin form, the docs and the export."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.admin.utils import flatten
from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations

from taskflow.audit.resource_types import type_of_model
from tasks.admin.tasks import TaskAdmin
from tasks.export.format import exported_models, fields_of
from tasks.export.values import CHECKED_COLUMNS
from tasks.models import Task
from tasks.schemas.tasks import TaskCreate, TaskResponse, TaskUpdate

pytestmark = pytest.mark.one_database

DOCS = (Path(__file__).parents[2] / "docs" / "domain.md").read_text()
# `force` is an option of the request, not a field.
SENT_NAMES = sorted((TaskCreate.model_fields.keys() | TaskUpdate.model_fields.keys()) - {"force"})
NOT_IN_CSV = {
    "project": "the address of the file names it",
    "project_id": "the address of the file names it",
}


def field_of(sent_name: str) -> models.Field:
    """Return the field of the model for a field of the body, such as `assignee_id`."""
    fields = Task._meta.get_fields()
    names = {f.name: f for f in fields} | {getattr(f, "attname", f.name): f for f in fields}
    return names[sent_name]


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_field_is_a_field_of_the_model(name):
    assert field_of(name)


def test_a_new_task_has_the_fields_that_can_be_changed():
    only_new = {"project", "project_id", "force"}

    assert TaskCreate.model_fields.keys() - only_new == TaskUpdate.model_fields.keys()


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_field_is_in_the_response(name):
    field = field_of(name)

    assert {name, field.name, field.attname} & TaskResponse.model_fields.keys()


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_number_fits_the_column(name):
    """SQLite stores larger numbers than PostgreSQL."""
    field = field_of(name)
    if isinstance(field, models.IntegerField):
        sent = TaskCreate.model_json_schema()["properties"][name]
        (number,) = (s for s in sent.get("anyOf", [sent]) if s["type"] == "integer")
        low, high = BaseDatabaseOperations.integer_field_ranges[field.get_internal_type()]

        assert low <= number["minimum"] <= number["maximum"] <= high


@pytest.mark.parametrize("name", sorted(set(SENT_NAMES) - NOT_IN_CSV.keys()))
def test_writable_field_is_a_csv_column(name):
    assert field_of(name).name in type_of_model(Task).csv_columns


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_field_is_in_the_admin_form(name):
    shown = {TaskAdmin.action_field_names.get(n, n) for n in flatten(TaskAdmin.fields)}
    shown |= {"due_on", "due_date"} & {n for n in SENT_NAMES if "due_at" in shown}

    assert field_of(name).name in shown


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_field_is_in_the_docs(name):
    section = DOCS.partition("## Fields of a task\n")[2].partition("\n## ")[0]

    assert re.search(rf"^\| (`\w+`, )?`{name}`", section, re.MULTILINE)


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_field_is_exported(name):
    field = field_of(name)

    if field.many_to_many:
        assert field.remote_field.through in exported_models()
    else:
        assert field in fields_of(Task)


@pytest.mark.parametrize("name", SENT_NAMES)
def test_writable_text_is_checked_by_an_import(name):
    """An import checks text of users by the rules of a request body."""
    field = field_of(name)
    is_text = isinstance(field, models.CharField | models.TextField | models.JSONField)

    if is_text and not field.choices:
        assert field.name in CHECKED_COLUMNS["tasks.task"][1]
