"""
Measure TaskFlow against three peers on the same PostgreSQL database.

    python -m benchmarks.bench [--short] [--tasks 200000] [--tenants 50] [--rounds 3] [--seconds 2]
        [--only list,one …] [--stacks taskflow,usual …] [--connections 4]
        [--more-connections 16,64] [--url URL of a seeded database] [--peers-venv PATH]

The peers are in benchmarks/peers. The result is printed and written to benchmarks/RESULTS.md.
--short is for trying it: two stacks, one round, one second, few tasks; other options still count.
It writes no file.

Each round has a fresh copy of the seeded database. With --url all stacks log in as that URL's
user, who must be a superuser, and each round goes on where the one before ended.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import report
from benchmarks.checks import check_answers
from benchmarks.common import HOME, OTHER_CORE, Failed, say, stop_on_signals
from benchmarks.database import COUNTERS, Database, Server, given, issue_tokens
from benchmarks.stacks import PEERS, STACKS, Load, Running, peers_venv, pin_tree
from benchmarks.workloads import WORKLOADS, Workload, make_workloads

Fresh = Callable[[], Database]
STARTED = int(time.time())  # what is written differs from what an earlier run wrote with --url
SHORT = {
    "tasks": 10_000,
    "tenants": 5,
    "rounds": 1,
    "seconds": 1,
    "stacks": ["taskflow", "usual"],
    "more_connections": [16],
}


def main() -> None:
    options = read_options()
    stop_on_signals()
    if (os.cpu_count() or 1) < 2:
        raise Failed("This needs two cores: one for the server, one for PostgreSQL and the load.")
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise Failed(f"This needs {tool}: apt install wrk util-linux.")
    if options.url:
        database = given(options.url)
        database.manage("recount", "--repair")  # peers that ran before do not update the counts
        issue_tokens(database)
        finish(options, measure(options, lambda: database))
        return
    server = Server(HOME / "pg")
    try:
        name = server.seeded(options.tenants, options.tasks)
        pin_tree(server.postmaster, OTHER_CORE)
        finish(options, measure(options, lambda: server.copy(name)))
    finally:
        server.stop()


def finish(options: argparse.Namespace, results: report.Results) -> None:
    text = report.render(options, results)
    say(text)
    if not options.short:
        report.write(text)


def measure(options: argparse.Namespace, fresh: Fresh) -> report.Results:
    has_peers = bool(set(options.stacks) & set(PEERS))
    peers = peers_venv(options.peers_venv) if has_peers else Path()
    results = report.Results(options.stacks)
    workloads: list[Workload] = []
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        load = Load(options.connections, options.seconds, Path(directory))
        for number in range(options.rounds):
            database = fresh()
            workloads = workloads or make_workloads(
                database, options.only, options.more_connections
            )
            servers = start(options.stacks, database, peers)
            try:
                if number == 0:
                    say("Do all answer alike?")
                    check_answers(servers, workloads)
                run_round(number, servers, workloads, load, results)
            finally:
                for server in servers:
                    server.stop()
            results.note_database(database, database.fetch_rows(COUNTERS))
    results.workloads = {workload.name: workload for workload in workloads}
    return results


def start(stacks: list[str], database: Database, peers: Path) -> list[Running]:
    """Start the servers one after the other. Each is ready when it answers a request for a task."""
    [probe, *_] = make_workloads(database, ["one"])[0].requests
    servers: list[Running] = []
    try:
        for name in stacks:
            servers.append(Running(name, database, peers, probe))
    except BaseException:
        for server in servers:
            server.stop()
        raise
    return servers


def run_round(
    number: int,
    servers: list[Running],
    workloads: list[Workload],
    load: Load,
    results: report.Results,
) -> None:
    """Run each workload on all stacks before the next one. Another stack begins each round."""
    first = number % len(servers)
    for workload in workloads:
        for server in servers[first:] + servers[:first]:
            if not server.serves(workload):
                continue
            label = f"{STARTED}-{number}-{server.name}-{workload.connections or 0}"
            sample = load.measure(server, workload, label)
            results.samples[workload.name, server.name].append(sample)
            say(
                f"  round {number + 1}  {workload.name:11} {server.name:9}"
                f" {sample.rate:8.0f}/s {sample.server_cpu:7.2f} ms CPU {sample.p50:7.2f} ms p50"
            )
    for server in servers:
        results.starts[server.name].append(server.start_seconds)
        results.memory[server.name].append(server.memory())


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--short", action="store_true", help="a quick trial; writes no file")
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument(
        "--more-connections", type=numbers, default=[16, 64], help="of some workloads, or none"
    )
    parser.add_argument("--only", type=chosen(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--stacks", type=chosen(STACKS), default=list(STACKS))
    parser.add_argument("--url", help="of an already seeded database, as a superuser")
    parser.add_argument("--peers-venv", type=Path, help="with their packages installed")
    if parser.parse_args().short:
        parser.set_defaults(**SHORT)
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    return [] if text == "none" else [int(part) for part in text.split(",")]


def chosen(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a parser of comma-separated names, which keeps the order of the defaults."""
    names = list(known)

    def read(text: str) -> list[str]:
        chosen_names = text.split(",")
        if unknown := set(chosen_names) - set(names):
            raise argparse.ArgumentTypeError(
                f"{', '.join(sorted(unknown))}: known are {', '.join(names)}"
            )
        return [name for name in names if name in chosen_names]

    return read


if __name__ == "__main__":
    main()
