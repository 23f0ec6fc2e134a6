"""
A pytest plugin that switches off tenant isolation in the application, to test the database's alone.

Managers do not filter, joins do not name the tenant, and rows of other tenants can be written.
"""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_application_isolation(monkeypatch):
    tenancy = "taskflow.tenancy.models"  # by name: plugins are loaded before Django is set up
    monkeypatch.delattr(f"{tenancy}.TenantManager.get_queryset")
    monkeypatch.setattr(f"{tenancy}.TenantFK.get_extra_restriction", lambda *args: None)
    monkeypatch.setattr(f"{tenancy}._refuse_other_tenants", lambda rows: None)
