"""Commands and servers that start on one empty database at the same time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from django.db import connection

from taskflow.tests import stored_databases
from taskflow.tests.server import ROOT, clean_environment, free_port, serve, stop

pytestmark = pytest.mark.slow

NAME = "empty_database"
TOGETHER = 3  # processes that start at the same time


@pytest.fixture
def environment(tmp_path):
    """The environment of processes that use one database without a table."""
    environment = clean_environment(tmp_path / "data")
    if connection.vendor != "postgresql":
        yield environment
        return
    url = re.sub(r"/[^/?]+(\?.*)?$", f"/{NAME}", os.environ["DATABASE_URL"])
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    with psycopg.connect(os.environ["DATABASE_URL"].split("?")[0], autocommit=True) as server:
        server.execute(drop)
        server.execute(f"CREATE DATABASE {NAME}")
        yield environment | {"DATABASE_URL": url}
        server.execute(drop)


def run_together(environment, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Run manage.py in several processes at once."""

    def run(_number: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(run, range(TOGETHER)))


def test_migrating_an_empty_database_several_times_at_once_succeeds_each_time(environment):
    ended = run_together(environment, "migrate", "--verbosity", "0")

    assert [(run.returncode, run.stderr) for run in ended] == [(0, "")] * TOGETHER
    assert stored_databases.manage("check", "--database", "default", environment=environment)


def test_seeding_the_demo_several_times_at_once_creates_it_once(environment):
    stored_databases.manage("migrate", "--verbosity", "0", environment=environment)

    ended = run_together(environment, "seed")

    assert [(run.returncode, run.stderr) for run in ended] == [(0, "")] * TOGETHER
    printed = sorted(run.stdout for run in ended)
    assert printed[0].startswith("Seeded 2 tenants")
    assert set(printed[1:]) == {"The demo exists already; nothing was changed.\n"}


def test_servers_that_start_together_on_an_empty_database_all_answer(environment, tmp_path):
    def start(number: int) -> subprocess.Popen[bytes]:
        return serve(free_port(), environment, tmp_path / f"log{number}")

    with ExitStack() as stack, ThreadPoolExecutor(TOGETHER) as pool:
        for process in pool.map(start, range(TOGETHER)):
            stack.callback(stop, process)

    logs = [(tmp_path / f"log{number}").read_text() for number in range(TOGETHER)]
    assert [log.count("TaskFlow is on") for log in logs] == [1] * TOGETHER
    assert sum("Seeded 2 tenants" in log for log in logs) == 1
