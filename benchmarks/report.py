"""Format the results as tables, on the screen and in RESULTS.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import REPO, RESULTS
from benchmarks.database import PLANNER_SETTINGS, Database
from benchmarks.peers.settings import CONNECTIONS
from benchmarks.stacks import Memory, Sample
from benchmarks.workloads import OURS_ALONE, Workload

US = "taskflow"
# Sections that other programs write (benchmarks.growth, claims, waiting, sqlite), in their order.
SECTIONS = ("Growth", "Claims", "Feed readers", "SQLite")
OURS = ("django", "django-ninja", "pydantic", "psycopg", "granian")
THEIRS = ("fastapi", "SQLAlchemy", "asyncpg", "uvicorn", "uvloop", "httptools", "orjson", "granian")
SHOWN_SETTINGS = (
    "shared_buffers",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "jit",
    "random_page_cost",
)
STACKS = """
- **taskflow**: TaskFlow as `manage.py serve` runs it (granian, one worker, five threads),
  with an ordinary database login, to which row-level security applies. It logs every request.
- **usual**: FastAPI, SQLAlchemy 2's async ORM, asyncpg, uvicorn with uvloop and httptools.
- **tuned**: the same, tuned by hand: Core rows, one query for token and membership, orjson, no
  response model.
- **bare**: granian's RSGI, asyncpg and one SQL statement per request that builds the JSON, without
  a framework. It shows the limit.

The peers filter by tenant and log in as a superuser, to whom row-level security does not apply.
They check token, membership and assignee, number tasks, write an event for each change and give
the same responses. **tuned** and **bare** read and write the stored task counts of projects; they
leave it to TaskFlow to merge their rows. **usual** counts the tasks. **usual** and **tuned** have a
pool of {pool} connections, TaskFlow one connection for each thread. The peers leave out what the
load does not need: scopes and project-bound tokens, administrators, retries with an
Idempotency-Key, If-Match, claims, feeds of events, dry runs, undo, subtasks and blockers that keep
a task open, access logs. So rows about If-Match and Idempotency-Key have TaskFlow alone.

{python}
TaskFlow calls `gc.freeze()` before it forks its workers; the peers do not. The server of PostgreSQL
has TaskFlow's planner settings for all stacks ({planner}). TaskFlow and **bare** also plan each
prepared statement only once (`plan_cache_mode`).
"""
METHOD = """
The server has one core for itself; PostgreSQL and wrk share the other. {connections} connections,
and more where a row says so; some requests to warm up, {seconds} seconds measured; {rounds}
round(s), each on {ground}, with all stacks in turn at each workload. Figures are medians of the
rounds, with the least and the greatest in brackets. Every response has to be a 2xx and every write
has to write its event, or the run stops. CPU is the time that the processes used, from /proc,
divided by the number of requests; for writes, of those that have written.
"""
NONE = "–"  # in a cell: not measured


@dataclass
class Results:
    stacks: Sequence[str]
    workloads: dict[str, Workload] = field(default_factory=dict)  # by name
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, list[Memory]] = field(default_factory=lambda: defaultdict(list))
    indexes: Sequence[tuple[str, str, int, int]] = ()
    postgresql: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    tasks: int = 0
    tenants: int = 0

    def note_database(self, database: Database, indexes: Sequence[Any]) -> None:
        self.indexes = indexes
        [(self.postgresql,)] = database.fetch_rows("SHOW server_version")
        for name in SHOWN_SETTINGS:
            [(self.settings[name],)] = database.fetch_rows(f"SHOW {name}")
        [(self.tasks, self.tenants)] = database.fetch_rows(
            "SELECT count(*), count(DISTINCT tenant_id) FROM tasks_task"
        )

    def figures(
        self, workload: str, stack: str, value: Callable[[Sample], float | None]
    ) -> list[float]:
        """Return the value of each round, or nothing where it was not measured."""
        figures = [value(sample) for sample in self.samples[workload, stack]]
        return [number for number in figures if number is not None]

    def median(self, workload: str, stack: str, value: Callable[[Sample], float | None]) -> float:
        figures = self.figures(workload, stack, value)
        return median(figures) if figures else nan

    def spread(
        self, workload: str, stack: str, value: Callable[[Sample], float | None], digits: int = 2
    ) -> str:
        """Return the median of the rounds, with the least and the greatest if there are several."""
        figures = self.figures(workload, stack, value)
        if not figures:
            return NONE
        shown = [f"{number:,.{digits}f}" for number in (min(figures), max(figures))]
        spread = f" ({shown[0]}–{shown[1]})" if len(figures) > 1 else ""
        return f"{median(figures):,.{digits}f}{spread}"


def render(options: argparse.Namespace, results: Results) -> str:
    if options.url:
        rows, ground = "A database given with --url", "what the one before left"
    else:
        rows = f"Seeded with {options.tasks:,} tasks of {options.tenants} tenants"
        ground = "a fresh copy of the database"
    parts = [
        "# Results\n",
        f"`python -m benchmarks.bench`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {rows}; at the end"
        f" of a round it held {results.tasks:,} tasks.\n",
        f"{machine()} PostgreSQL {results.postgresql} ("
        + ", ".join(f"{name} {value}" for name, value in results.settings.items())
        + ").\n",
        f"Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in OURS)
        + f". Peers: {peer_versions()}.\n",
        "## Stacks",
        STACKS.format(
            pool=CONNECTIONS,
            python=interpreter(),
            planner=", ".join(f"{name} {value}" for name, value in PLANNER_SETTINGS.items()),
        ),
        "## Method",
        METHOD.format_map(vars(options) | {"ground": ground}),
        "## In short\n",
        "Server CPU per request, in milliseconds, and the ratios of the stacks: of CPU, of the"
        " rate, and of the slowest requests (p99).\n",
        summary_table(results),
        "## Connections\n",
        "The slowest requests (p99) with more clients than one process serves at once, in"
        " milliseconds.\n",
        connection_table(options, results),
        "## Requests\n",
        *(workload_table(results, name) for name in results.workloads),
        "## Memory and start\n",
        "After the load, in MiB: of the worker (RSS; PSS, in which shared pages count by"
        " share), and of all processes of the server. Start: until the first 200 for a task.\n",
        memory_table(results),
        "## Indexes\n",
        "After the last round, by all stacks together: size and scans.\n",
        index_table(results),
    ]
    return "\n".join(parts)


def summary_table(results: Results) -> str:
    """Return a table with one line for each workload."""

    def cpu(name: str, stack: str) -> float:
        return results.median(name, stack, lambda sample: sample.server_cpu)

    def rate(name: str, stack: str) -> float:
        return results.median(name, stack, lambda sample: sample.rate)

    def p99(name: str, stack: str) -> float:
        return results.median(name, stack, lambda sample: sample.p99)

    rows = [
        (
            name,
            *(number(cpu(name, stack)) for stack in results.stacks),
            ratio(cpu(name, "usual"), cpu(name, US)),
            ratio(cpu(name, "tuned"), cpu(name, US)),
            ratio(cpu(name, US), cpu(name, "bare")),
            ratio(rate(name, US), rate(name, "bare")),
            ratio(p99(name, US), p99(name, "usual")),
        )
        for name in results.workloads
    ]
    beside = ("usual : us", "tuned : us", "us : bare", "rate, us : bare", "p99, us : usual")
    return table(("CPU ms", *results.stacks, *beside), rows)


def connection_table(options: argparse.Namespace, results: Results) -> str:
    """Return a table with one line for each workload and number of connections."""
    names = {name.partition(" ")[0] for name, w in results.workloads.items() if w.connections}
    rows = []
    for name, workload in results.workloads.items():
        first = name.partition(" ")[0]
        if first in names:
            p99 = {s: results.median(name, s, lambda sample: sample.p99) for s in results.stacks}
            rows.append(
                (
                    first,
                    str(workload.connections or options.connections),
                    *(results.spread(name, s, lambda sample: sample.p99) for s in results.stacks),
                    ratio(p99.get(US, nan), p99.get("usual", nan)),
                )
            )
    return table(("p99 ms", "connections", *results.stacks, "us : usual"), rows)


def workload_table(results: Results, workload: str) -> str:
    def rate(stack: str) -> float:
        return results.median(workload, stack, lambda sample: sample.rate)

    def cpu(stack: str) -> float:
        return results.median(workload, stack, lambda sample: sample.server_cpu)

    measured = [stack for stack in results.stacks if results.samples[workload, stack]]
    rows = [
        (
            stack,
            results.spread(workload, stack, lambda s: s.rate, 0),
            results.spread(workload, stack, lambda s: s.server_cpu),
            results.spread(workload, stack, lambda s: s.database_cpu),
            number(results.median(workload, stack, lambda s: s.p50)),
            results.spread(workload, stack, lambda s: s.p99),
            *(ratio(rate(stack), rate(other)) for other in ("usual", "bare")),
            ratio(cpu(stack), cpu("usual")),
        )
        for stack in measured
    ]
    heads = (
        "stack",
        "requests/s",
        "server CPU ms",
        "PostgreSQL CPU ms",
        "p50 ms",
        "p99 ms",
        "rate : usual",
        "rate : bare",
        "CPU : usual",
    )
    about = results.workloads[workload].about
    if results.workloads[workload].stacks == OURS_ALONE:
        about += ". TaskFlow alone: the peers do not offer it"
    return f"### {workload}: {about}\n\n{table(heads, rows)}"


def number(value: float) -> str:
    return NONE if isnan(value) else f"{value:.2f}"


def ratio(one: float, other: float) -> str:
    return number(one / other) if other else NONE


def memory_table(results: Results) -> str:
    rows = []
    for stack in results.stacks:
        used, starts = results.memory[stack], results.starts[stack]
        values = [
            median(memory.worker_rss for memory in used),
            median(memory.worker_pss for memory in used),
            median(memory.total_pss for memory in used),
        ]
        rows.append((stack, *(f"{value:.0f}" for value in values), f"{median(starts):.2f}"))
    return table(("stack", "worker RSS", "worker PSS", "server PSS", "start s"), rows)


def index_table(results: Results) -> str:
    rows = [
        (name, index, f"{size / 2**20:.1f}", f"{scans:,}")
        for name, index, size, scans in results.indexes
    ]
    return table(("table", "index", "MiB", "scans"), rows, text_columns=2)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Return a table in Markdown with aligned columns."""
    lines = [heads, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if n < text_columns else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if n < text_columns else "-" * (width - 1) + ":"
        for n, width in enumerate(widths)
    ]
    return "\n".join([line(heads), line(rule), *map(line, lines[1:])]) + "\n"


def machine() -> str:
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in cpus if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}."


def interpreter() -> str:
    """Say how the interpreter was built. Optimizations of its build make Python code faster."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    named = {"--enable-optimizations": "profile-guided optimizations", "--with-lto": "LTO"}
    built = " and ".join(
        f"{'with' if flag in flags else 'without'} {name}" for flag, name in named.items()
    )
    return f"All run on the same Python {platform.python_version()}, built {built}."


def peer_versions() -> str:
    requirements = (REPO / "benchmarks" / "peers" / "requirements.txt").read_text().split()
    pins = dict(pin.split("==") for pin in requirements)
    return ", ".join(f"{name} {pins[name]}" for name in THEIRS)


def write(text: str) -> None:
    """Write the results. Sections that other programs measure are kept below them."""
    write_parts(read_parts() | {"": text})


def write_section(name: str, text: str) -> None:
    """Write one of SECTIONS. Everything else is kept."""
    write_parts(read_parts() | {name: text})


def read_parts() -> dict[str, str]:
    """Return the text of each section by its name, and that before the first by an empty one."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    parts = re.split(rf"^## ({'|'.join(SECTIONS)})\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def write_parts(parts: dict[str, str]) -> None:
    sections = [f"## {name}\n\n{parts[name].strip()}\n" for name in SECTIONS if name in parts]
    RESULTS.write_text("\n".join([parts[""].rstrip() + "\n", *sections]))
