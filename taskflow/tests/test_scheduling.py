"""The server runs timed tasks by itself, in a process that is started again when it is killed."""

from __future__ import annotations

import os
import signal

import pytest

from taskflow.tests.chaos.database import SQLite
from taskflow.tests.chaos.installation import installed, wait_until
from taskflow.tests.server import list_helpers, list_workers

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

NAME = "tf-schedule"
SECONDS = 60  # for a busy machine; the process is started again after 5


def test_process_for_timed_tasks_is_started_again_after_it_was_killed():
    with installed(SQLite) as installation:
        server = installation.process.pid
        assert wait_until(lambda: len(list_helpers(server, NAME)) == 1, SECONDS)
        (killed,) = list_helpers(server, NAME)
        workers = list_workers(server)

        os.kill(killed, signal.SIGKILL)

        assert wait_until(lambda: list_helpers(server, NAME) not in ([], [killed]), SECONDS)
        assert list_workers(server) == workers
        installation.stop()
        assert installation.process.returncode == 0


def test_server_that_is_not_to_run_timed_tasks_has_no_process_for_them():
    with installed(SQLite, settings={"TASKFLOW_SCHEDULE": "0"}) as installation:
        assert list_helpers(installation.process.pid, NAME) == []
        assert len(list_helpers(installation.process.pid, "tf-webhooks")) == 1
