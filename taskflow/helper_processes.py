"""The processes that `serve` runs beside its workers. Each is started again when it ends.

This module reads no settings, so that the pool of workers can import it before the application.
"""

from __future__ import annotations

from typing import NamedTuple


class HelperProcess(NamedTuple):
    """`module` has a function run(prepare), which returns the exit code after a signal."""

    name: str  # in lists of processes; at most 15 characters
    module: str
    setting: str  # that switches it on
    purpose: str  # in the log, after “the process that”


HELPER_PROCESSES = (
    HelperProcess("tf-webhooks", "taskflow.delivering", "DELIVER", "sends webhooks"),
    HelperProcess("tf-schedule", "taskflow.scheduling", "SCHEDULE", "runs timed tasks"),
)
