"""
A tenant as a file: one JSON document a line.

The first names the format and the tenant, then come its rows, model after model and each in the
order of its ids, and at last the counts and a SHA-256 of all lines before. Two exports of the same
data are the same bytes, whichever database they come from.

A file of an older version lacks columns: they have the defaults of their models. A file of a newer
version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

from django.apps import apps
from django.db import models

from accounts.models import IdempotencyRecord, Tenant
from taskflow.tenancy import is_tenant_model
from tasks.export.values import write_value
from tasks.models import TaskTally

FORMAT = "taskflow-bundle"
# Raise it whenever a model or a column is added or changes its meaning: an older TaskFlow then says
# that it is too old for the file, instead of leaving out what it does not know.
VERSION = 1
CHUNK = 2000  # rows read or written at a time
SECRETS = {"accounts.user": "password", "accounts.apitoken": "digest"}
# The writing transaction's and the sign-ins' of this installation, not the data's.
LEFT_OUT = {"tenant", "sequence", "is_sign_in", "sessions_ended_at"}
Model = type[models.Model]
NO_DATA: set[Model] = {
    IdempotencyRecord,
    TaskTally,
}  # answers for retries, and what follows from tasks


def tenant_models() -> list[Model]:
    """Every table of the tenant, those first that others point to."""
    found = {m for m in apps.get_models(include_auto_created=True) if is_tenant_model(m)}
    found -= NO_DATA
    graph = {
        model: sorted(
            {f.related_model for f in model._meta.local_fields if f.related_model in found}
            - {model},
            key=label_of,
        )
        for model in sorted(found, key=label_of)
    }
    return list(TopologicalSorter(graph).static_order())


@cache
def models_by_label() -> dict[str, Model]:
    return {label_of(model): model for model in tenant_models()}


def label_of(model: Any) -> str:
    return str(model._meta.label_lower)


@cache
def fields_of(model: Any) -> list[Any]:
    """What is written of a row; the tenant is the file's."""
    return [f for f in model._meta.concrete_fields if f.name not in LEFT_OUT and not f.generated]


def line(document: dict[str, Any]) -> bytes:
    text = json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return text.encode() + b"\n"


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    fields = Tenant._meta.concrete_fields
    return {f.attname: write_value(f, getattr(tenant, f.attname), []) for f in fields}


def shifted_fields(model: Any) -> Iterator[tuple[str, Model]]:
    """Columns that hold ids of other rows, and of which model."""
    for field in fields_of(model):
        if field.related_model is not None and is_tenant_model(field.related_model):
            yield field.attname, field.related_model
