"""PgBouncer in transaction mode: runs taskflow/tests/pooler.py where PgBouncer is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys

from taskflow.tests.chaos.installation import Databases
from taskflow.tests.chaos.postgresql import PostgreSQL
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.scale import Scale
from taskflow.tests.server import ROOT


def use_pgbouncer(report: Report, scale: Scale, databases: Databases) -> None:
    if PostgreSQL.name not in databases:
        return
    figure, is_kept = "PgBouncer is not installed", None
    if shutil.which("pgbouncer"):
        command = [sys.executable, "-W", "ignore", "-m", "taskflow.tests.pooler"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        figure, is_kept = lines[-1], done.returncode == 0
    report.add(
        "PgBouncer in transaction mode, two connections",
        PostgreSQL.name,
        "two tenants are served and stay separate",
        figure,
        is_kept=is_kept,
    )
