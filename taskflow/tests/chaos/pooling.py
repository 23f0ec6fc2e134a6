"""PgBouncer in transaction mode: runs taskflow/tests/pooler.py where PgBouncer is installed."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stdout

from taskflow.tests import pooler
from taskflow.tests.chaos.installation import Databases
from taskflow.tests.chaos.postgresql import PostgreSQL
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.scale import Scale


def use_pgbouncer(report: Report, scale: Scale, databases: Databases) -> None:
    if PostgreSQL.name not in databases:
        return
    figure, is_kept = "PgBouncer is not installed", None
    if shutil.which("pgbouncer"):
        output = io.StringIO()
        try:
            with redirect_stdout(output):
                pooler.main()
            figure, is_kept = "; ".join(output.getvalue().split("\n")).strip("; "), True
        except AssertionError as error:
            figure, is_kept = str(error)[:200], False
    report.add(
        "PgBouncer in transaction mode, two and six connections",
        PostgreSQL.name,
        "two tenants are served and stay separate",
        figure,
        is_kept=is_kept,
    )
