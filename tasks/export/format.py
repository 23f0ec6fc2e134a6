"""
The format of a tenant export: one JSON document per line.

The first line contains the format and the tenant. The rows follow, model by model and ordered by
id. The last line contains the counts and a SHA-256 of all lines before it. Two exports of the same
data are the same bytes, from either database.

A column that is missing in a file of an older version gets the default of its model field. A file
of a newer version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

from django.apps import apps
from django.db import models

from accounts.models import IdempotencyRecord, Tenant
from taskflow.db.columns import columns_of
from taskflow.db.computed import ComputedField
from taskflow.db.types import AnyField
from taskflow.tenancy import is_tenant_model
from tasks.export.values import ExportRow, write_value
from tasks.models import TaskCountDelta

FORMAT = "taskflow-export"
# Increase it whenever a model or column is added or changes its meaning. Otherwise an older
# TaskFlow would import the file and lose the values that it does not know.
VERSION = 2
CHUNK = 2000  # rows read or written at a time
SECRETS = {"accounts.user": "password", "accounts.apitoken": "digest"}
# Columns about this installation (its transactions and sign-ins), not about the data.
EXCLUDED_FIELDS = {"tenant", "sequence", "is_sign_in", "sessions_ended_at"}
Model = type[models.Model]
Line = Mapping[str, Any]  # a line of the file, which is a JSON object
# Stored responses for retries, and counts that the import computes from the tasks.
EXCLUDED_MODELS: set[Model] = {IdempotencyRecord, TaskCountDelta}


def exported_models() -> list[Model]:
    """Return the exported models, each after the models that it refers to."""
    models = {m for m in apps.get_models(include_auto_created=True) if is_tenant_model(m)}
    models -= EXCLUDED_MODELS
    graph = {
        model: sorted(
            {f.related_model for f in columns_of(model) if f.related_model in models} - {model},
            key=label_of,
        )
        for model in sorted(models, key=label_of)
    }
    return list(TopologicalSorter(graph).static_order())


@cache
def models_by_label() -> dict[str, Model]:
    """Return the exported models by label, such as `tasks.task`."""
    return {label_of(model): model for model in exported_models()}


def label_of(model: Model) -> str:
    """Return the label of a model in the file, such as `tasks.task`."""
    return str(model._meta.label_lower)


@cache
def fields_of(model: Model) -> list[AnyField]:
    """Return the exported fields of a model.

    Without the tenant, which is in the first line, and without the columns that are computed from
    others, which the import computes again.
    """
    return [
        f
        for f in columns_of(model)
        if f.name not in EXCLUDED_FIELDS and not f.generated and not isinstance(f, ComputedField)
    ]


def json_line(document: Line) -> bytes:
    """Return the document as one line of the file. Equal documents are equal bytes."""
    text = json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return text.encode() + b"\n"


def tenant_document(tenant: Tenant) -> ExportRow:
    """Return the columns of the tenant for the first line of the file."""
    fields = columns_of(Tenant)
    return {f.attname: write_value(f, getattr(tenant, f.attname), []) for f in fields}


def reference_fields(model: Model) -> Iterator[tuple[str, Model]]:
    """Yield the columns that contain ids of other rows, each with the model of those rows."""
    for field in fields_of(model):
        if field.related_model is not None and is_tenant_model(field.related_model):
            yield field.attname, field.related_model
