"""Every request body that the OpenAPI document shows as an example succeeds on the demo, unchanged."""

from __future__ import annotations

import json
import re

import pytest

from conftest import ApiClient, CheckedClient
from taskflow.tests.contract import api_document
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import seed_demo

OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in api_document()["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
}
WITHOUT_TOKEN = {"login", "register"}


@pytest.fixture
def demo_client(db, settings):
    """A client with the demo token, on a fresh demo with its fixed password."""
    settings.DEBUG, settings.DEFAULT_TENANT = True, DEMO_TENANT
    return ApiClient(seed_demo().token)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, reset_sequences=True)
@pytest.mark.parametrize("name", OPERATIONS)
def test_example_request_succeeds_on_the_demo(demo_client, name):
    method, path, operation = OPERATIONS[name]
    examples = {p["name"]: p["example"] for p in operation["parameters"] if p["in"] == "path"}
    ((media_type, content),) = operation["requestBody"]["content"].items()
    example = content["example"]
    client = CheckedClient() if name in WITHOUT_TOKEN else demo_client

    response = client.generic(
        method.upper(),
        re.sub(r"{(\w+)}", lambda match: str(examples[match[1]]), path),
        example if isinstance(example, str) else json.dumps(example),
        content_type=media_type,
    )

    assert response.status_code in (200, 201, 204), response.content
    assert str(response.status_code) in operation["responses"]
