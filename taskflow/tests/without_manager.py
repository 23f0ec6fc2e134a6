"""
A pytest plugin that switches off tenant isolation in the application, to test the database's alone.

Managers do not filter, joins do not name the tenant, and rows of other tenants can be written.
"""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.fixture(autouse=True)
def _no_application_isolation(monkeypatch):
    models = import_module("taskflow.tenancy.models")  # plugins are loaded before Django is set up
    monkeypatch.delattr(models.TenantManager, "get_queryset")
    monkeypatch.setattr(models.TenantFK, "get_extra_restriction", lambda *args: None)
    monkeypatch.setattr(models, "_refuse_other_tenants", lambda rows: None)
