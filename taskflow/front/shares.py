"""How many slots writes may hold, so that those that wait for a lock do not stop all the others.

A write may wait for a row that another transaction holds, or for SQLite's one writer, and its
thread waits with it. Reads wait for neither. So some slots are left to them, whatever the writes
wait for, and one tenant's writes leave a slot to those of the others.
"""

from __future__ import annotations

import re
from collections import Counter

from taskflow.front.exchange import Exchange
from taskflow.front.protocol import Environ
from taskflow.http.credentials import read_bearer_token
from taskflow.http.preconditions import SAFE

TENANT_OF_TOKEN = re.compile(r"tf_([0-9]+)_")


class WriteShares:
    """Counts the slots that writes hold. Not safe for threads: its lane locks it."""

    def __init__(self, limit: int, limit_of_tenant: int) -> None:
        self.limit, self.limit_of_tenant = limit, limit_of_tenant
        self._held: Counter[str] = Counter()  # by tenant; none is zero

    def may_begin(self, exchange: Exchange) -> bool:
        """Return whether a request may get a slot now. A read always may."""
        writer = exchange.writer
        return writer is None or (
            self._held.total() < self.limit and self._held[writer] < self.limit_of_tenant
        )

    def begin(self, exchange: Exchange) -> None:
        if exchange.writer is not None:
            self._held[exchange.writer] += 1

    def end(self, exchange: Exchange) -> None:
        writer = exchange.writer
        if writer is not None:
            self._held[writer] -= 1
            if not self._held[writer]:
                del self._held[writer]


def find_writer(environ: Environ) -> str | None:
    """Return the tenant that a write names; None for a read.

    It is the id in the token, otherwise X-Tenant or the host. Nothing is checked here: a client
    that names another tenant takes a share of that one, until the application refuses its request.
    """
    if environ["REQUEST_METHOD"] in SAFE:
        return None
    match = TENANT_OF_TOKEN.match(read_bearer_token(environ) or "")
    if match:
        return match[1]
    return str(environ.get("HTTP_X_TENANT") or environ.get("HTTP_HOST", "")).lower()
