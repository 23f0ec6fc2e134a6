"""Limits of requests for each token and tenant: counted in memory, with headers."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest

from conftest import ApiClient, token_of
from taskflow.http import request_limits
from taskflow.http.request_limits import RequestCounter, count_request

pytestmark = pytest.mark.one_database


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(request_limits, "time", clock)
    yield clock
    request_limits.by_token.forget()
    request_limits.by_tenant.forget()


def test_requests_have_no_headers_without_limits(fixtures, as_):
    r = as_(fixtures.ada).get("/me")

    assert "RateLimit" not in r.headers
    assert "RateLimit-Policy" not in r.headers


def test_requests_of_a_token_are_limited(fixtures, clock, settings):
    settings.REQUESTS_PER_TOKEN = 3
    client, other = ApiClient(token_of(fixtures.ada)), ApiClient(token_of(fixtures.ada))

    responses = [client.get("/me") for _ in range(4)]

    assert [r.status_code for r in responses] == [200, 200, 200, 429]
    assert [r["RateLimit"] for r in responses] == [
        '"token";r=2;t=20',
        '"token";r=1;t=40',
        '"token";r=0;t=60',
        '"token";r=0;t=60',
    ]
    assert {r["RateLimit-Policy"] for r in responses} == {'"token";q=3;w=60'}
    refusal = responses[3].json()
    assert (refusal["code"], responses[3]["Retry-After"]) == ("too_many_requests", "20")
    assert "about 3 in 60 seconds are allowed. Wait 20 seconds" in refusal["detail"]
    assert other.get("/me").status_code == 200
    clock.seconds += 20
    assert [client.get("/me").status_code for _ in range(2)] == [200, 429]


def test_tokens_of_a_tenant_share_its_limit(fixtures, settings):
    settings.REQUESTS_PER_TOKEN, settings.REQUESTS_PER_TENANT = 2, 3
    ada, bob = ApiClient(token_of(fixtures.ada)), ApiClient(token_of(fixtures.bob))
    mallory = ApiClient(token_of(fixtures.mallory))

    first, second, third = ada.get("/me"), ada.get("/me"), bob.get("/me")
    refused = bob.get("/me")

    assert [r.status_code for r in (first, second, third, refused)] == [200, 200, 200, 429]
    assert first["RateLimit-Policy"] == '"token";q=2;w=60, "tenant";q=3;w=60'
    assert refused["RateLimit"] == '"token";r=0;t=60, "tenant";r=0;t=60'
    assert "This tenant has sent" in refused.json()["detail"]
    assert mallory.get("/me").status_code == 200


def test_refused_write_changes_nothing_and_counts_for_both_limits(fixtures, settings, events):
    settings.REQUESTS_PER_TENANT = 1
    client = ApiClient(token_of(fixtures.ada))
    assert client.get("/me").status_code == 200
    before = len(events(fixtures.acme))

    r = client.post("/tasks", {"project": "APO", "title": "x"}, headers={"Idempotency-Key": "k"})

    assert r.status_code == 429
    assert len(events(fixtures.acme)) == before
    request_limits.by_tenant.forget()
    again = client.post(
        "/tasks", {"project": "APO", "title": "x"}, headers={"Idempotency-Key": "k"}
    )
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, None)


def test_invalid_token_does_not_use_up_the_limit_of_a_tenant(fixtures, settings):
    settings.REQUESTS_PER_TENANT = 2
    token = token_of(fixtures.ada)
    for _ in range(5):
        assert ApiClient(token[:-4] + "AAAA").get("/me").status_code == 401

    assert ApiClient(token).get("/me").status_code == 200


def test_error_responses_have_the_headers(fixtures, as_, settings):
    settings.REQUESTS_PER_TOKEN = 10

    r = as_(fixtures.eve).get("/tasks/APO-1")

    assert r.status_code == 404
    assert re.fullmatch(r'"token";r=9;t=\d+', r["RateLimit"])


def test_limit_is_divided_by_the_number_of_workers(fixtures, as_, settings, monkeypatch):
    settings.REQUESTS_PER_TOKEN = 10
    monkeypatch.setattr(request_limits.workers, "count", 4)

    assert as_(fixtures.ada).get("/me")["RateLimit-Policy"] == '"token";q=2;w=60'


def test_counter_forgets_keys_that_limit_nothing(clock, monkeypatch):
    monkeypatch.setattr(request_limits, "CLEANUP_KEYS", 3)
    counter = RequestCounter("token")
    for key in range(3):
        counter.count(key, 60)
    clock.seconds += 2

    counter.count(3, 60)

    assert list(counter._until) == [3]


@pytest.mark.slow
def test_counting_a_request_takes_less_than_a_twentieth_of_a_millisecond(monkeypatch):
    limits = SimpleNamespace(REQUESTS_PER_TOKEN=10**9, REQUESTS_PER_TENANT=10**9)
    monkeypatch.setattr(request_limits, "time", time)
    monkeypatch.setattr(request_limits, "settings", limits)  # overridden settings are slower
    shortest = min(measure_count(500) for _ in range(20))

    print(f"{shortest * 1e6:.1f} µs for both limits and their headers")
    assert shortest < 50e-6


def measure_count(times):
    started = time.perf_counter()
    for n in range(times):
        count_request(n, 1)
    return (time.perf_counter() - started) / times
