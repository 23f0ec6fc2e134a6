"""Waiting requests that are to be run again, in a fair order."""

from __future__ import annotations

from taskflow.front.held import Held, Key


class RunQueue:
    """Takes one run of each tenant in turn. Equal requests of a tenant share one run.

    Not safe for threads: its owner locks it.
    """

    def __init__(self) -> None:
        self._by_tenant: dict[int, dict[Key, list[Held]]] = {}  # none is empty
        self.has_worker = False  # whether a thread takes runs

    def __len__(self) -> int:
        return sum(map(len, self._by_tenant.values()))

    def append(self, held: Held) -> None:
        self._by_tenant.setdefault(held.tenant_id, {}).setdefault(held.key, []).append(held)

    def take(self) -> list[Held]:
        """Remove and return the requests of the next run; an empty list if there is none."""
        tenant = next(iter(self._by_tenant), None)
        if tenant is None:
            return []
        runs = self._by_tenant.pop(tenant)
        run = runs.pop(next(iter(runs)))
        if runs:
            self._by_tenant[tenant] = runs  # now the last one in turn
        return run
