"""Registrations are limited per address and per installation."""

from __future__ import annotations

import pytest

from accounts.tests.test_limits import Clock
from conftest import PASSWORD, ApiClient

HOME = "203.0.113.7"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("accounts.limits.time", clock)
    return clock


def register(number, address=HOME):
    body = {
        "tenant_name": "Initech",
        "subdomain": f"{number}" if number in ("-", "taken") else f"initech-{number}",
        "full_name": "Peter G",
        "email": "peter@initech.example",
        "password": PASSWORD,
    }
    return ApiClient(REMOTE_ADDR=address).post("/auth/register", body)


def test_registrations_from_one_address_are_limited(db, clock):
    tried = [register(n) for n in range(6)]

    assert [r.status_code for r in tried] == [201] * 5 + [429]
    assert tried[-1]["Retry-After"] == "60"
    assert "too many registrations" in tried[-1].json()["detail"]


def test_registrations_of_the_installation_are_limited(db, clock):
    tried = [register(n, address=f"198.51.100.{n}") for n in range(6)]

    assert [r.status_code for r in tried] == [201] * 5 + [429]
    assert tried[-1]["Retry-After"] == "2"


def test_refused_registration_counts_unless_the_schema_refuses_it(db, clock):
    assert {register("-").status_code for _ in range(6)} == {422}

    tried = [register("taken").status_code for _ in range(6)]

    assert tried == [201, 409, 409, 409, 409, 429]
