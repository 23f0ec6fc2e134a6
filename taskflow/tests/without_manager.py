"""
A pytest plugin that takes the application's lock away, so that the database's must hold alone.

Managers no longer filter, joins no longer name the tenant, strangers are no longer refused.
"""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_application_lock(monkeypatch):
    tenancy = "taskflow.tenancy.models"  # by name: plugins are loaded before Django is set up
    monkeypatch.delattr(f"{tenancy}.TenantManager.get_queryset")
    monkeypatch.setattr(f"{tenancy}.TenantFK.get_extra_restriction", lambda *args: None)
    monkeypatch.setattr(f"{tenancy}._refuse_strangers", lambda rows: None)
