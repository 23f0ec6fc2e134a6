"""The deliverer looks for new events when a commit is reported, and counts what waits seldom."""

from __future__ import annotations

from queue import Empty

import pytest
from django.utils import timezone

from taskflow.tenancy import inside
from tasks.models import Delivery, DeliveryQueue, Webhook
from tasks.webhooks import deliverer as module
from tasks.webhooks.deliverer import CommitWaiter, Deliverer


def test_commit_of_a_tenant_with_webhooks_wakes_once_until_the_next_look():
    woken = []
    waiter = CommitWaiter(lambda: woken.append(True))
    waiter.set_tenants([7])

    waiter.wake([8])
    assert woken == []
    waiter.wake([7, 8])
    waiter.wake([7])
    assert woken == [True]
    waiter.is_woken = False
    waiter.wake_all()
    assert woken == [True, True]


def test_first_tenant_with_webhooks_begins_the_watch():
    begun = []
    waiter = CommitWaiter(lambda: None)
    waiter.on_begin = lambda: begun.append(True)

    for tenants in ([], [7], [7, 8], [], [9]):
        waiter.set_tenants(tenants)

    assert begun == [True, True]
    assert waiter.list_tenants() == (9,)


def test_report_ends_the_wait_of_the_deliverer(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    deliverer = Deliverer()
    waiter = deliverer.use_watcher()
    waiter.set_tenants([7])
    waiter.wake([7])

    deliverer.wait(30)

    with pytest.raises(Empty):
        deliverer.finished.get_nowait()
    assert deliverer.poll_seconds == module.WATCHED_POLL_SECONDS


@pytest.fixture
def pending(fixtures):
    """Two deliveries of a webhook of Acme."""
    with inside(fixtures.acme):
        times = {"created_at": timezone.now(), "updated_at": timezone.now()}
        hook = Webhook(url="https://example.com", owner=fixtures.boss.user, salt="s", **times)
        hook.save_base(raw=True)
        for number in range(2):
            Delivery(
                webhook=hook, message_id=f"m{number}", event_type="ping", event_ids=[],
                created_at=timezone.now(),
            ).save_base(raw=True)  # fmt: skip
        DeliveryQueue.add(fixtures.acme.pk)
    return hook


@pytest.mark.django_db
def test_busy_tenant_is_looked_at_again_at_once_and_not_counted(fixtures, pending):
    deliverer = Deliverer()
    with inside(fixtures.acme):
        deliverer.store(fixtures.acme, is_busy=True)
        Delivery.objects.filter(message_id="m0")._raw_delete("default")
        deliverer.store(fixtures.acme, is_busy=True)
        busy = DeliveryQueue.objects.get(pk=fixtures.acme.pk)
        deliverer.store(fixtures.acme, is_busy=False)
        idle = DeliveryQueue.objects.get(pk=fixtures.acme.pk)

    assert (busy.waiting, idle.waiting) == (2, 1)
    assert busy.due_at <= timezone.now()


@pytest.mark.django_db
def test_busy_tenant_is_counted_again_after_a_time(fixtures, pending):
    deliverer = Deliverer()
    with inside(fixtures.acme):
        deliverer.store(fixtures.acme, is_busy=True)
        Delivery.objects.filter(message_id="m0")._raw_delete("default")
        deliverer.counted_at[fixtures.acme.pk] -= module.COUNT_SECONDS
        deliverer.store(fixtures.acme, is_busy=True)

        assert DeliveryQueue.objects.get(pk=fixtures.acme.pk).waiting == 1
