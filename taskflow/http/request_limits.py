"""Limits of requests for each token and each tenant, counted in memory by each worker.

A request must not write a row of a counter, nor ask another process. So each worker allows its part
of a limit: the limit divided by the number of workers. The kernel divides connections among them,
so that the limits are approximate: a client with one connection gets the part of one worker.

The algorithm is GCRA: a whole minute's requests are allowed at once, and then one for each
60 seconds divided by the quota. The headers are those of draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from threading import Lock

from django.conf import settings

from taskflow.http.errors import TooManyRequests

WINDOW_SECONDS = 60
CLEANUP_KEYS = 10_000  # of one counter, from which on those that limit nothing are removed
ROUNDING = 1e-6  # seconds
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a counter has decided about a request."""

    quota: int  # requests a minute that this worker allows
    remaining: int
    reset_seconds: int  # until the whole quota is available again
    wait_seconds: int  # 0 if the request is allowed


class RequestCounter:
    """Counts the requests of each key, such as the id of a token, in this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._until: dict[int, float] = {}  # by key: until when requests are used up
        self._lock = Lock()
        self._cleanup_at = CLEANUP_KEYS

    def count(self, key: int, limit: int) -> Decision:
        """Count a request, unless it is refused. `limit` is that of all workers, in a minute."""
        quota = max(1, limit // workers.count)
        step, now = WINDOW_SECONDS / quota, time.monotonic()
        with self._lock:
            before = max(self._until.get(key, now), now)
            used = before - now + step
            if used > WINDOW_SECONDS + ROUNDING:
                wait = ceil(used - WINDOW_SECONDS)
                return Decision(quota, 0, ceil(before - now), wait)
            if len(self._until) >= self._cleanup_at:
                self._remove_unused(now)
            self._until[key] = now + used
        remaining = int((WINDOW_SECONDS + ROUNDING - used) / step)
        return Decision(quota, remaining, ceil(used), 0)

    def _remove_unused(self, now: float) -> None:
        """Remove the keys that limit nothing. The next time is at twice as many as are left, so
        that the cost of each request stays constant.
        """
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._cleanup_at = max(CLEANUP_KEYS, 2 * len(self._until))

    def forget(self) -> None:
        """Begin again. For tests."""
        self._until.clear()


class Workers:
    """How many worker processes share the limits. taskflow/worker_pool.py sets it."""

    count = 1


workers = Workers()
by_token, by_tenant = RequestCounter("token"), RequestCounter("tenant")


def count_request(token_id: int | None, tenant_id: int) -> Mapping[str, str]:
    """Count a request, and return the headers RateLimit and RateLimit-Policy of its response.

    `token_id` is None for a session. Raises TooManyRequests when a limit is reached. Without limits
    in the settings, nothing is counted, and there are no headers.
    """
    limits = []
    if token_id is not None and settings.REQUESTS_PER_TOKEN:
        limits.append((by_token, token_id, settings.REQUESTS_PER_TOKEN))
    if settings.REQUESTS_PER_TENANT:
        limits.append((by_tenant, tenant_id, settings.REQUESTS_PER_TENANT))
    if not limits:
        return NO_HEADERS
    decisions: dict[str, Decision] = {}
    refusal: TooManyRequests | None = None
    for counter, key, limit in limits:
        decision = decisions[counter.name] = counter.count(key, limit)
        if decision.wait_seconds:
            refusal = TooManyRequests(
                f"This {counter.name} has sent too many requests: about {limit} in"
                f" {WINDOW_SECONDS} seconds are allowed. Wait {decision.wait_seconds} seconds,"
                " and then send fewer.",
                decision.wait_seconds,
            )
            break
    headers = _build_headers(decisions)
    if refusal is not None:
        refusal.headers |= headers
        raise refusal
    return headers


def _build_headers(decisions: Mapping[str, Decision]) -> Mapping[str, str]:
    policies = [f'"{name}";q={d.quota};w={WINDOW_SECONDS}' for name, d in decisions.items()]
    states = [f'"{name}";r={d.remaining};t={d.reset_seconds}' for name, d in decisions.items()]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
