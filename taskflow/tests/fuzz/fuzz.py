"""Sends generated requests, and checks each response against the OpenAPI document.

schemathesis generates the requests from the document: half of them valid, half of them not. Ids,
keys and handles of the demo replace most of the generated ones, since random ones find nothing.
Each request runs in a transaction that is rolled back, so that it does not depend on those before.
Run by __main__.py in an environment of its own; pytest does not collect this file by itself.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests import Request
from schemathesis import GenerationMode

from accounts.actions.tokens import issue_token
from accounts.models import Tenant, User
from conftest import ApiClient
from taskflow.audit.actor import Actor, TokenScope
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from taskflow.tests.fuzz.existing import Existing, digest, list_existing_values
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import seed_demo

CASES = int(os.environ.get("FUZZ_CASES", "50000"))  # of all operations together
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SENDERS = ("ada", "bob", "scout")  # an administrator, a member, and an agent
BASE = "http://testserver"
SCHEMA = schemathesis.openapi.from_dict(api_document())
OPERATIONS = {
    operation.definition.raw["operationId"]: operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CASES_PER_TEST = -(-CASES // (len(OPERATIONS) * len(MODES)))  # rounded up
HEADERS_OF_THE_CLIENT = {"authorization", "content-length", "content-type"}
statuses: Counter[int] = Counter()  # of all responses

logging.getLogger("taskflow.request").disabled = True  # a line for each request


@pytest.fixture(scope="session")
def demo(django_db_setup: None, django_db_blocker: Any) -> tuple[Existing, list[str]]:
    """Seed the demo. Return its values, and tokens of users with different rights."""
    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            # A test is one transaction, in which generating a request may take longer on a busy
            # machine.
            with connection.cursor() as cursor:
                cursor.execute("SET idle_in_transaction_session_timeout = 0")
        seed_demo()
        tenant = Tenant.objects.get(subdomain=DEMO_TENANT)
        with inside(tenant):
            users = [User.objects.get(handle=handle) for handle in SENDERS]
            ada = Actor(users[0], tenant)
            tokens = [issue_token(ada, user, "fuzz", TokenScope.ADMIN, None)[1] for user in users]
            return list_existing_values(), tokens


@pytest.fixture(scope="session", autouse=True)
def report() -> Iterator[None]:
    yield
    by_status = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    print(f"\n{statuses.total()} requests, seed {SEED}. Responses by status: {by_status}")


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def send(case: Any, mode: GenerationMode, existing: Existing, tokens: list[str]) -> None:
    """Send the request of a case. The client raises BrokenContract for an undocumented response."""
    key = digest(case.path_parameters, case.query, case.body)
    case.path_parameters = existing.put_into(case.path_parameters, key)
    case.query = existing.put_into(case.query, key)
    case.headers = existing.put_into_headers(case.headers, key)
    if mode is GenerationMode.POSITIVE:
        case.body = existing.put_into_body(case.body, key)
    kwargs = case.as_transport_kwargs(base_url=BASE)
    request = Request(
        **{n: v for n, v in kwargs.items() if n not in ("timeout", "verify")}
    ).prepare()
    headers = {n: v for n, v in request.headers.items() if n.lower() not in HEADERS_OF_THE_CLIENT}
    with rolled_back():
        response = ApiClient(tokens[key % len(tokens)]).generic(
            str(request.method),
            str(request.url).removeprefix(BASE),
            request.body or b"",
            content_type=request.headers.get("Content-Type", ""),
            headers=headers,
        )
    statuses[response.status_code] += 1
    assert response.status_code < 500, (
        f"{request.method} {request.url} {request.headers} {request.body!r}:"
        f" {response.status_code} {response.content[:300]!r}"
    )


@pytest.mark.django_db
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPERATIONS)
def test_response_to_a_generated_request_is_as_documented(
    demo: tuple[Existing, list[str]], name: str, mode: GenerationMode
) -> None:
    @seed(SEED)
    @settings(
        max_examples=CASES_PER_TEST,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        send(case, mode, *demo)

    try:
        run()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "an operation without parameters has none"
