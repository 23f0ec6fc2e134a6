"""Use the database of DATABASE_URL through the API, and print the responses as JSON.

test_upgrade.py runs this in a process of its own, since Django's settings name one database.
"""

from __future__ import annotations

import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")
django.setup()

from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from accounts.models import Tenant, User  # noqa: E402
from conftest import ApiClient, token_of  # noqa: E402
from taskflow.audit.actor import Actor  # noqa: E402
from taskflow.tenancy import inside  # noqa: E402


def client_of(subdomain: str, handle: str) -> ApiClient:
    tenant = Tenant.objects.get(subdomain=subdomain)
    with inside(tenant):
        user = User.objects.get(handle=handle)
    return ApiClient(token_of(Actor(user, tenant)))


def main() -> None:
    setup_test_environment()
    ada, other = client_of("acme", "ada"), client_of("globex", "ada")
    tasks = ada.get("/tasks?limit=200").json()["data"]
    created = ada.post(
        "/tasks", {"project_id": tasks[0]["project_id"], "title": "After the upgrade"}
    )
    path = f"/tasks/{created.json()['id']}"
    responses = {
        "ready": Client().get("/readyz"),
        "created": created,
        "changed": ada.patch(path, {"priority": "high"}),
        "read": ada.get(path),
        "found": ada.get("/search?q=upgrade"),
        "history": ada.get(f"{path}/events"),
        "of another tenant": other.get(path),
    }
    report = {name: [r.status_code, r.json()] for name, r in responses.items()}
    print(json.dumps({"titles": [task["title"] for task in tasks], **report}))


main()
