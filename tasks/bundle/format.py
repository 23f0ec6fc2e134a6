"""
A tenant as a file: one JSON document a line.

The first names the format and the tenant, then come its rows, model after model and each in the
order of its ids, and at last the counts and a SHA-256 of all lines before. Two exports of the same
data are the same bytes, whichever database they come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from graphlib import TopologicalSorter
from typing import Any

from django.apps import apps
from django.db import models

from accounts.models import KeptAnswer, Tenant
from accounts.tenancy import is_tenant_model
from tasks.models import TaskTally

FORMAT, VERSION = "taskflow-bundle", 1
CHUNK = 2000  # rows read or written at a time
SECRETS = {"accounts.user": "password", "accounts.apitoken": "digest"}
# The writing transaction's, not the data's.
LEFT_OUT = {"tenant", "sequence"}
Model = type[models.Model]
NO_DATA: set[Model] = {KeptAnswer, TaskTally}  # answers for retries, and what follows from tasks


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


def label_of(model: Any) -> str:
    return str(model._meta.label_lower)


def fields_of(model: Any) -> list[Any]:
    """What is written of a row; the tenant is the file's."""
    return [f for f in model._meta.concrete_fields if f.name not in LEFT_OUT and not f.generated]


def line(document: dict[str, Any]) -> bytes:
    text = json.dumps(
        _plain(document), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """As both databases give it back: PostgreSQL has no floats in JSON, and knows 1.0 as 1."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    return {f.attname: getattr(tenant, f.attname) for f in Tenant._meta.concrete_fields}


def shifted_fields(model: Any) -> Iterator[tuple[str, Model]]:
    """Columns that hold ids of other rows, and of which model."""
    for field in fields_of(model):
        if field.related_model is not None and is_tenant_model(field.related_model):
            yield field.attname, field.related_model
