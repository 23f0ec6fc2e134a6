"""Notices that this process did not run for a while."""

from __future__ import annotations

import logging
import time

from taskflow.front.limits import FROZEN_AFTER_SECONDS
from taskflow.metrics.definitions import FREEZES, FROZEN, registry
from taskflow.metrics.timing import read_clock

log = logging.getLogger("taskflow.front")
BUSY_SHARE = 0.5  # of the time that the process has used the CPU, from which on it was busy itself


class FreezeMonitor:
    """Compares the time between two calls of check() with the time that was to lie between them."""

    def __init__(self) -> None:
        self._checked_at, self._cpu = read_clock(), time.process_time()

    def check(self, expected: float) -> None:
        """Write how long the process did not run, if it was a second or more.

        `expected` are the seconds for which the caller has slept on purpose.
        """
        before, cpu_before = self._checked_at, self._cpu
        self._checked_at, self._cpu = read_clock(), time.process_time()
        registry.values[registry.HEARTBEAT] = self._checked_at
        frozen = self._checked_at - before - expected
        if frozen < FROZEN_AFTER_SECONDS:
            return
        cpu = self._cpu - cpu_before
        FREEZES.add()
        FROZEN.add(frozen)
        cause = (
            "one call has kept Python busy"
            if cpu >= BUSY_SHARE * frozen
            else "it was stopped, or the machine was suspended or had no time for it"
        )
        fields = {"frozen_ms": round(frozen * 1000), "cpu_ms": round(cpu * 1000)}
        log.warning("the worker did not run for %.1f seconds: %s", frozen, cause, extra=fields)
