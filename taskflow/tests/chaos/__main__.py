"""
Breaks a running installation in many ways, and prints one table with a figure for each promise.

    python -m taskflow.tests.chaos [--short] [FAULT …]

`make chaos` runs it; CHAOS=short takes 5 minutes. Exits with 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable

from taskflow.tests.chaos import clients, databases, disks, kills, pooling, starts
from taskflow.tests.chaos.database import SQLite
from taskflow.tests.chaos.installation import DATABASES, Databases, Installation, installed
from taskflow.tests.chaos.postgresql import PostgreSQL
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.scale import FULL, SHORT, Scale

Fault = Callable[[Installation, Report, Scale], None]
# Faults of an installation with two workers, in an order in which none spoils the next.
BOTH = [SQLite.name, PostgreSQL.name]
FAULTS: dict[str, tuple[Fault, list[str]]] = {
    "hot-row": (databases.lock_row, BOTH),
    "silent": (databases.freeze_database, [PostgreSQL.name]),
    "away": (databases.kill_database, [PostgreSQL.name]),
    "read-only": (databases.make_read_only, [PostgreSQL.name]),
    "worker-kills": (kills.kill_workers, BOTH),
    "crash-loop": (kills.crash_again_and_again, BOTH),
    "kills": (kills.kill_server, BOTH),
    "restart": (starts.restart, BOTH),
}
# Faults that start their own servers.
OTHER_FAULTS: dict[str, Callable[[Report, Scale, Databases], None]] = {
    "clients": clients.run_slow_clients,
    "disk": disks.fill_disks,
    "two-starts": starts.start_twice,
    "pgbouncer": pooling.use_pgbouncer,
}
ALL = [*FAULTS, *OTHER_FAULTS]
WORKERS = 2


def main() -> int:
    parser = argparse.ArgumentParser("python -m taskflow.tests.chaos")
    parser.add_argument("--short", action="store_true", default=os.environ.get("CHAOS") == "short")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(ALL))
    parser.add_argument("--database", choices=DATABASES, help="only this one")
    options = parser.parse_args()
    databases = {n: d for n, d in DATABASES.items() if options.database in (None, n)}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end what was started
    report, scale = Report(), SHORT if options.short else FULL
    chosen = options.faults or ALL
    if unknown := set(chosen) - set(ALL):
        parser.error(f"unknown fault: {', '.join(unknown)}")
    report.begin()
    for name, open_database in databases.items():
        faults = [f for key, (f, names) in FAULTS.items() if key in chosen and name in names]
        if faults:
            with installed(open_database, WORKERS) as installation:
                for fault in faults:
                    fault(installation, report, scale)
    for key, run in OTHER_FAULTS.items():
        if key in chosen:
            run(report, scale, databases)
    return int(report.has_failed)


if __name__ == "__main__":
    sys.exit(main())
