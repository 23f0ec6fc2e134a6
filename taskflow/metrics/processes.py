"""Memory, files, threads and CPU of the workers. Only on Linux: elsewhere there are no values."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from taskflow.metrics.exposition import Reading

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ESTABLISHED = "01"  # the state of a connection in /proc/net/tcp
# The positions in /proc/<pid>/stat, behind the name of the program: see proc(5).
USER_TICKS, SYSTEM_TICKS, THREADS, START_TICKS = 11, 12, 17, 19


def read_processes(processes: Mapping[str, int]) -> list[Reading]:
    """Return readings of the processes by the numbers of their workers."""
    values = {
        number: found
        for number, process in processes.items()
        if (found := _read_process(process)) is not None
    }
    return [
        Reading(name, description, kind, ("worker",), {(n,): v[name] for n, v in values.items()})
        for name, (description, kind) in PROCESS_METRICS.items()
    ]


PROCESS_METRICS = {
    "taskflow_worker_resident_memory_bytes": (
        "Memory of a worker, shared pages included.",
        "gauge",
    ),
    "taskflow_worker_open_files": ("Open files and connections of a worker.", "gauge"),
    "taskflow_worker_threads": ("Threads of a worker.", "gauge"),
    "taskflow_worker_cpu_seconds_total": ("CPU that a worker has used.", "counter"),
    "taskflow_worker_start_time_seconds": ("When a worker was started, since 1970.", "gauge"),
}


def _read_process(process: int) -> dict[str, float] | None:
    """Return the values of one process, or None if it has ended."""
    folder = PROC / str(process)
    try:
        numbers = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
        files = len(os.listdir(folder / "fd"))
        booted = float(_line_of(PROC / "stat", "btime").split()[1])
    except OSError:
        return None
    ticks = int(numbers[USER_TICKS]) + int(numbers[SYSTEM_TICKS])
    values = (
        float(pages * PAGE_BYTES),
        float(files),
        float(numbers[THREADS]),
        ticks / TICKS_PER_SECOND,
        booted + int(numbers[START_TICKS]) / TICKS_PER_SECOND,
    )
    return dict(zip(PROCESS_METRICS, values, strict=True))


def _line_of(file: Path, start: str) -> str:
    return next(line for line in file.read_text().splitlines() if line.startswith(start))


def count_connections(port: int) -> Reading:
    """Return a reading of the open connections to a port, of all workers together."""
    reading = Reading("taskflow_connections", "Open connections of clients, silent ones included.")
    if sys.platform == "linux":
        tables = [PROC / "net" / name for name in ("tcp", "tcp6")]
        count = sum(_count_established(t, f":{port:04X}") for t in tables if t.exists())
        reading.values = {(): float(count)}
    return reading


def _count_established(table: Path, end: str) -> int:
    with table.open() as lines:
        parts = (line.split(maxsplit=4)[1:4] for line in lines)
        return sum(local.endswith(end) and state == ESTABLISHED for local, _remote, state in parts)
