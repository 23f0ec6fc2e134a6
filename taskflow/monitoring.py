"""The metrics of all workers, and the port on which one scrape shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from multiprocessing import RawArray

from django.conf import settings
from django.db import connection

from taskflow.database_readings import as_readings, read_database_on_a_usable_connection
from taskflow.front.front import Front
from taskflow.front.limits import READING_SECONDS
from taskflow.front.probes import ProbeServer, SharedCall
from taskflow.guide import API_VERSION
from taskflow.helper_processes import HELPER_PROCESSES, HelperProcess
from taskflow.metrics.definitions import registry
from taskflow.metrics.exposition import CONTENT_TYPE, Reading, write_text
from taskflow.metrics.families import Memory, Registry
from taskflow.metrics.processes import count_connections, read_processes
from taskflow.metrics.timing import read_clock

PROCESS, HEARTBEAT = Registry.PROCESS, Registry.HEARTBEAT


class Monitoring:
    """Created before the workers are forked, so that they share its memory.

    `port` is the public port. Without TASKFLOW_PROBE_PORT it does nothing.
    """

    def __init__(self, workers: int, port: int) -> None:
        self.workers, self.port = workers, port
        self.helpers = [each for each in HELPER_PROCESSES if getattr(settings, each.setting)]
        # One part for each worker, and one for each process beside them.
        size = registry.size * (workers + len(self.helpers))
        self.shared = RawArray("d", size) if settings.PROBE_PORT else None

    def start(self, front: Front, number: int) -> None:
        """Record in the memory of worker `number`, which begins with 1, and open the port."""
        if self.shared is None:
            return
        memory = self.memories[number - 1]
        memory[HEARTBEAT] = read_clock()
        registry.attach(memory, os.getpid())
        database = SharedCall("probe-database", read_database_on_a_usable_connection)
        server = ProbeServer(
            settings.PROBE_HOST,
            settings.PROBE_PORT,
            front.work.application,
            lambda: (200, [("Content-Type", CONTENT_TYPE)], self.write(database).encode()),
        )
        server.start()
        front.when_stopping(server.stop)

    def attach_helper(self, helper: HelperProcess) -> None:
        """Record in the memory of a process beside the workers, which this process is."""
        if self.shared is not None:
            memory = self.memories[self.workers + self.helpers.index(helper)]
            registry.attach(memory, os.getpid())

    @property
    def memories(self) -> list[Memory]:
        """The memory of each worker, and of each process beside them."""
        assert self.shared is not None
        numbers = memoryview(self.shared).cast("B").cast("d")
        size = registry.size
        return [numbers[start : start + size] for start in range(0, len(numbers), size)]

    def write(self, database: SharedCall[dict[str, float]]) -> str:
        """Return the text of a scrape. It does not wait for the database for long."""
        memories = self.memories
        try:
            values = database.wait(READING_SECONDS)
        except TimeoutError:
            values = {}
        numbered = enumerate(memories[: self.workers], 1)
        workers = {str(n): memory for n, memory in numbered if memory[PROCESS]}
        readings = [
            describe_version(),
            read_heartbeats(workers),
            *read_processes({n: int(memory[PROCESS]) for n, memory in workers.items()}),
            count_connections(self.port),
            *as_readings(values),
        ]
        return write_text(registry, memories, readings)


def read_heartbeats(workers: Mapping[str, Memory]) -> Reading:
    """Return a reading of how long ago each worker has shown that it runs."""
    now = read_clock()
    ages = {(number,): now - memory[HEARTBEAT] for number, memory in workers.items()}
    return Reading(
        "taskflow_worker_heartbeat_age_seconds",
        "Time since a worker has last shown that it runs. Below a second, unless it is frozen.",
        labels=("worker",),
        values={labels: max(0.0, age) for labels, age in ages.items()},
    )


def describe_version() -> Reading:
    """Return a reading that is always 1, whose labels name the version and the database."""
    return Reading(
        "taskflow_info",
        "The version of the API, and the kind of database.",
        labels=("version", "database"),
        values={(API_VERSION, connection.vendor): 1.0},
    )
