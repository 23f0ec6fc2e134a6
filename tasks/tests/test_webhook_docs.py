"""The receiver of docs/webhooks.md accepts genuine deliveries once, and no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from taskflow.audit.webhooks.client import post
from taskflow.audit.webhooks.signatures import sign
from taskflow.tenancy import inside
from taskflow.tests.server import free_port
from tasks.actions.webhooks import create_webhook, redeliver
from tasks.changes.tasks import complete_task
from tasks.models import Delivery
from tasks.webhooks.deliverer import Deliverer

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
LOCAL = (ip_network("127.0.0.1"),)


def test_receiver_of_the_documentation_accepts_genuine_deliveries_once(fixtures, settings):
    settings.WEBHOOK_ALLOW = LOCAL
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with inside(fixtures.acme):
        hook = create_webhook(
            fixtures.ada, url=url, event_types=["task.completed"], project=fixtures.apollo
        )
        complete_task(replace(fixtures.ada, request_id="one"), fixtures.task)
    environment = os.environ | {"WEBHOOK_SECRET": hook.secret, "PORT": str(port)}
    receiver = subprocess.Popen(
        [sys.executable, "-c", CODE],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_it_answers(url)
        Deliverer().run_until_idle()
        with inside(fixtures.acme):
            redeliver(fixtures.ada, Delivery.objects.select_related("webhook__project").get())
        Deliverer().run_until_idle()
        forged = post(url, b"{}", headers_of("whsec_AAAA", time.time()), LOCAL)
        old = post(url, b"{}", headers_of(hook.secret, time.time() - 3600), LOCAL)
    finally:
        receiver.kill()
        printed, _ = receiver.communicate()

    assert printed.decode().split() == ["task.completed"]
    assert (forged.status, old.status) == (401, 401)
    with inside(fixtures.acme):
        delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.response_status) == ("delivered", 2, 204)


def test_receiver_of_the_documentation_is_short():
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 24


def headers_of(secret, timestamp):
    return {
        "webhook-id": "msg_x",
        "webhook-timestamp": str(int(timestamp)),
        "webhook-signature": sign([secret], "msg_x", int(timestamp), b"{}"),
    }


def until_it_answers(url):
    for _ in range(200):
        if post(url, b"{}", headers_of("whsec_AAAA", 0), LOCAL).status:
            return
        time.sleep(0.05)
    raise AssertionError("the receiver has not started")
