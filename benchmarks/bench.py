"""
Measure TaskFlow against three peers on the same PostgreSQL database.

    python -m benchmarks.bench [--tasks 1000000] [--tenants 100] [--rounds 3] [--seconds 6]
        [--only list,one …] [--stacks taskflow,usual …] [--connections 4]
        [--url URL of a seeded database] [--peers-venv PATH]

The peers are in benchmarks/peers. The result is printed and written to benchmarks/RESULTS.md.

Each round has a fresh copy of the seeded database. With --url all stacks log in as that URL's
user, who must be a superuser, and each round goes on where the one before ended.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import report
from benchmarks.checks import check_answers
from benchmarks.common import HOME, OTHER_CORE, Failed, say, stop_on_signals
from benchmarks.database import COUNTERS, Database, Server, given, issue_tokens
from benchmarks.stacks import PEERS, STACKS, Load, Running, peers_venv, pin_tree
from benchmarks.workloads import WORKLOADS, Workload, make_workloads

Fresh = Callable[[], Database]


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
            workloads = workloads or make_workloads(database, options.only)
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
    results.workloads = {workload.name: workload.about for workload in workloads}
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
            label = f"{number}-{server.name}"
            sample = load.measure(server, workload, label)
            results.samples[workload.name, server.name].append(sample)
            say(
                f"  round {number + 1}  {workload.name:9} {server.name:9}"
                f" {sample.rate:8.0f}/s {sample.server_cpu:7.2f} ms CPU {sample.p50:7.2f} ms p50"
            )
    for server in servers:
        results.starts[server.name].append(server.start_seconds)
        results.memory[server.name].append(server.memory())


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--only", type=chosen(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--stacks", type=chosen(STACKS), default=list(STACKS))
    parser.add_argument("--url", help="of an already seeded database, as a superuser")
    parser.add_argument("--peers-venv", type=Path, help="with their packages installed")
    return parser.parse_args()


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
