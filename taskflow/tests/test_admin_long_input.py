"""Long texts in URLs of the admin are refused with a sentence, and are never an error of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from conftest import sign_in_browser
from taskflow.admin.text import MAX_LENGTH, MAX_LENGTH_OF_SEVERAL
from taskflow.tenancy import inside
from taskflow.tests.test_admin_bad_input import TASKS, each_model, list_of, parameters_of

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

# 100,000 characters of words, of columns to sort by, and of digits.
LONG = ["x " * 50_000, "1." * 50_000, "9" * 100_000]


@pytest.fixture
def staff_client(fixtures: Any) -> Client:
    client = Client(SERVER_NAME="acme.localhost", raise_request_exception=False)
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)
    return client


@pytest.mark.sampled(2)
@each_model
def test_long_value_in_the_address_of_a_list_is_refused(staff_client, model):
    for name in sorted({*parameters_of(model), "created_at__year", "unknown"}):
        for value in LONG:
            response = staff_client.get(f"{list_of(model)}?{urlencode({name: value})}")
            assert response.status_code == 400, (name, value[:2])
            assert f"“{name}” in the URL has more than" in response.content.decode()


def test_action_on_a_list_with_a_long_search_is_refused(staff_client):
    body = {"action": "complete_anyway", "select_across": "1", "_selected_action": "1"}

    response = staff_client.post(f"{TASKS}?{urlencode({'q': LONG[0]})}", body)

    assert response.status_code == 400
    assert "Nothing was changed." in response.content.decode()


@pytest.mark.parametrize("value", ["x " * (MAX_LENGTH // 2), "1." * (MAX_LENGTH // 2)])
def test_longest_search_and_order_are_answered(staff_client, value):
    for name in ("q", "o"):
        assert staff_client.get(f"{TASKS}?{urlencode({name: value})}").status_code < 400


@pytest.mark.parametrize("name", ["title", "labels", "project", "_changelist_filters"])
def test_proposed_values_may_be_longer_than_a_search(staff_client, name):
    for size, status in ((MAX_LENGTH_OF_SEVERAL, 200), (MAX_LENGTH_OF_SEVERAL + 2, 400)):
        value = "1," * (size // 2)
        response = staff_client.get(f"{TASKS}add/?{urlencode({name: value})}")
        assert response.status_code == status


@pytest.mark.parametrize(
    "page",
    [
        "search/?extended=1&s=",
        "autocomplete/?app_label=tasks&model_name=task&field_name=project&term=",
        "audit/event/undo/?since=",
    ],
)
def test_long_text_in_other_pages_is_refused(staff_client, page):
    assert staff_client.get(f"/admin/{page}{LONG[2]}").status_code == 400
