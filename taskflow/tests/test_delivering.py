"""The server sends webhooks by itself, in a process that is started again when it is killed."""

from __future__ import annotations

import json
import os
import signal

import pytest

from taskflow.tests.chaos.database import SQLite
from taskflow.tests.chaos.installation import installed, wait_until
from taskflow.tests.server import list_helpers, list_workers
from tasks.tests.receivers import receiving

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

SECONDS = 150  # the lease of a killed process lasts a minute; and for a busy machine


def send(server, method, path, body=None):
    status, text = server.call(method, f"/api/v1{path}", body)
    assert status in (200, 201), text
    return json.loads(text)


def test_server_sends_webhooks_also_after_their_process_was_killed():
    settings = {"TASKFLOW_WEBHOOK_ALLOW": "127.0.0.1"}
    with receiving() as receiver, installed(SQLite, settings=settings) as installation:
        server = installation.server
        hook = {"url": receiver.url, "project": "WEB", "event_types": ["task.changed"]}
        send(server, "POST", "/webhooks", hook)
        send(server, "PATCH", "/tasks/WEB-1", {"title": "first"})
        assert wait_until(lambda: len(receiver.received) == 1, SECONDS)
        (deliverer,) = list_helpers(installation.process.pid, "tf-webhooks")
        workers = list_workers(installation.process.pid)

        os.kill(deliverer, signal.SIGKILL)
        send(server, "PATCH", "/tasks/WEB-1", {"title": "second"})

        assert wait_until(lambda: len(receiver.received) == 2, SECONDS)
        assert list_workers(installation.process.pid) == workers
        installation.stop()
        assert installation.process.returncode == 0


def test_server_without_deliverer_sends_nothing():
    settings = {"TASKFLOW_DELIVER": "0"}
    with installed(SQLite, settings=settings) as installation:
        assert list_helpers(installation.process.pid, "tf-webhooks") == []
        assert len(list_workers(installation.process.pid)) == 1
