"""
The deliverer: reads the feeds of all tenants with webhooks, and sends their deliveries.

Its main thread alone uses the database for them, in short transactions; other threads send. So no
transaction is open while a receiver answers, and it holds one connection, besides that of the
watcher of commits. What it does is stored before and after each attempt: a deliverer that is killed
loses its leases after a minute, and another one, or the next, sends those deliveries again with the
same `webhook-id`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from accounts.models import Tenant
from taskflow.audit.webhooks.client import Answer, post
from taskflow.db.batches import pause_for_writers
from taskflow.tenancy import inside
from tasks.models import Delivery, DeliveryQueue, Webhook
from tasks.scheduled.tenants import find_tenants_with
from tasks.webhooks.attempts import Attempt, count_attempt, lease_messages, record_attempts
from tasks.webhooks.changes import ChangeSignal
from tasks.webhooks.messages import Message
from tasks.webhooks.reading import has_news, read_news

log = logging.getLogger("taskflow.webhooks")
POLL_SECONDS = 1.0  # the longest time until a new event is noticed, if no watcher reports it
WATCHED_POLL_SECONDS = 5.0  # the same with a watcher, which may miss one while it connects
PAUSE_SECONDS = 0.05  # after a report, for which further ones are collected
COUNT_SECONDS = 10.0  # for which the stored number of pending deliveries of a busy tenant is valid
ERROR_SECONDS = 5.0  # of rest after the database has failed
THREADS = 64  # that send; each waits for a receiver
FINISH_SECONDS = 10.0  # for which a deliverer that ends waits for its receivers


class Deliverer:
    """Sends deliveries until stop() is called. Several may run; they share the work."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
        self.finished: SimpleQueue[Attempt | None] = SimpleQueue()  # None: wake up
        self.unrecorded: dict[int, list[Attempt]] = defaultdict(list)  # by the id of the tenant
        self.sending: Counter[int] = Counter()  # deliveries by the id of the webhook
        self.signal = ChangeSignal()
        self.reports = CommitWaiter(lambda: self.finished.put(None))
        self.poll_seconds = POLL_SECONDS
        self.counted_at: dict[int, float] = {}  # by tenant, by the monotonic clock
        self.is_stopping = False

    def run(self, tick: Callable[[], object] = lambda: None) -> None:
        """Deliver until stop() is called. `tick` is called at least every few seconds.

        A database that cannot be used ends nothing: it is tried again.
        """
        is_ready = False
        while not self.is_stopping:
            tick()
            try:
                connection.close_if_unusable_or_obsolete()
                if not is_ready:
                    find_tenants()
                    is_ready = True
                is_busy = self.work()
            except DatabaseError as error:
                log.warning("webhooks are not sent: the database failed: %s", error)
                self.wait(ERROR_SECONDS)
            else:
                self.wait(0 if is_busy else self.poll_seconds)
        self.finish()

    def use_watcher(self) -> CommitWaiter:
        """Look for new events when they are reported to the returned object, and seldom besides."""
        self.poll_seconds = WATCHED_POLL_SECONDS
        return self.reports

    def run_until_idle(self) -> None:
        """Deliver what can be delivered now, and end. For `manage.py deliver --once`."""
        find_tenants()
        while self.work() or self.sending or self.unrecorded:
            self.wait(POLL_SECONDS if self.sending else 0)
        self.executor.shutdown()

    def stop(self) -> None:
        """End run() soon. A signal handler can call it."""
        self.is_stopping = True
        self.finished.put(None)

    # ---- the main thread ----

    def work(self) -> bool:
        """Look into each tenant in which something may have to be done. Return whether something
        was done.
        """
        self.reports.is_woken = False
        has_changed, now = self.signal.has_changed(), timezone.now()
        queued = dict(DeliveryQueue.objects.values_list("tenant_key", "due_at"))
        self.reports.set_tenants(queued)
        due = {pk for pk, due_at in queued.items() if due_at <= now}
        ids = set(queued) if has_changed else due | self.unrecorded.keys()
        tenants = list(Tenant.objects.filter(is_active=True, pk__in=sorted(ids))) if ids else []
        for lost in self.unrecorded.keys() - {tenant.pk for tenant in tenants}:
            del self.unrecorded[lost]  # the tenant was deleted or deactivated
        return any([self.try_to_work_for(tenant, is_due=tenant.pk in due) for tenant in tenants])  # noqa: C419 - for each of them

    def try_to_work_for(self, tenant: Tenant, *, is_due: bool) -> bool:
        """Like work_for(), but a bug that one tenant meets does not stop the webhooks of others."""
        try:
            return self.work_for(tenant, is_due=is_due)
        except DatabaseError:
            raise
        except Exception:
            log.exception("the webhooks of tenant %s could not be read or sent", tenant.pk)
            return False

    def work_for(self, tenant: Tenant, *, is_due: bool) -> bool:
        """Record, read and lease for one tenant, and begin to send. Return whether it did so."""
        attempts = self.unrecorded.get(tenant.pk, [])
        if not (attempts or is_due or needs_work(tenant)):
            return False
        started = time.monotonic()
        with inside(tenant):
            record_attempts(tenant, attempts)
            is_behind = read_news(tenant)
            messages = lease_messages(tenant, THREADS - self.sending.total(), self.sending)
            self.store(tenant, is_busy=bool(messages or is_behind))
        self.unrecorded.pop(tenant.pk, None)
        worked = time.monotonic() - started
        for message in messages:
            self.send(message)
        pause_for_writers(worked)
        return bool(attempts or messages or is_behind)

    def store(self, tenant: Tenant, *, is_busy: bool) -> None:
        """Store what is pending in the tenant. While it is busy, it is counted now and then."""
        now = time.monotonic()
        is_due = now - self.counted_at.get(tenant.pk, -COUNT_SECONDS) >= COUNT_SECONDS
        is_counted = is_due or not is_busy
        DeliveryQueue.store(tenant.pk, is_busy=is_busy, is_counted=is_counted)
        if is_counted:
            self.counted_at[tenant.pk] = now

    # ---- sending ----

    def send(self, message: Message) -> None:
        """Let a thread send the message. wait() receives the result."""
        self.sending[message.delivery.webhook_id] += 1
        self.executor.submit(attempt, message).add_done_callback(self.receive)

    def receive(self, future: Future[Attempt]) -> None:
        self.finished.put(future.result())

    def wait(self, seconds: float) -> None:
        """Wait until an attempt is finished, for at most so many seconds. Take all that are."""
        with suppress(Empty):
            self.take(self.finished.get(timeout=seconds) if seconds else self.finished.get_nowait())
            while True:
                self.take(self.finished.get_nowait())

    def take(self, attempt: Attempt | None) -> None:
        if attempt is None:  # woken; each commit of a busy tenant would begin a look of its own
            time.sleep(0 if self.is_stopping else PAUSE_SECONDS)
            return
        count_attempt(attempt)
        webhook_id = attempt.message.delivery.webhook_id
        self.sending[webhook_id] -= 1
        if not self.sending[webhook_id]:
            del self.sending[webhook_id]
        self.unrecorded[attempt.message.tenant_id].append(attempt)

    def finish(self) -> None:
        """Wait for the receivers that are answering, and record the results."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + FINISH_SECONDS
        while self.sending and time.monotonic() < deadline:
            self.wait(POLL_SECONDS)
        with suppress(DatabaseError):  # their leases end, and they are sent again
            for tenant in Tenant.objects.filter(pk__in=sorted(self.unrecorded)):
                with inside(tenant):
                    record_attempts(tenant, self.unrecorded[tenant.pk])


class CommitWaiter:
    """What a watcher of commits reports to: see taskflow/audit/commits/watching.py."""

    def __init__(self, wake_up: Callable[[], object]) -> None:
        self.wake_up = wake_up
        self.on_begin: Callable[[], object] = lambda: None  # called when there is a first tenant
        self.tenants: Collection[int] = ()  # that have webhooks
        self.is_woken = False  # whether it was woken since the last look

    def set_tenants(self, tenants: Iterable[int]) -> None:
        """Note which tenants have webhooks. To be called in one thread."""
        had_none, self.tenants = not self.tenants, tuple(tenants)
        if had_none and self.tenants:
            self.on_begin()

    def wake(self, tenants: Iterable[int]) -> None:
        """Look for new events soon, if there are some of a tenant with webhooks."""
        if not set(self.tenants).isdisjoint(tenants):
            self.wake_all()

    def wake_all(self) -> None:
        if not self.is_woken:
            self.is_woken = True
            self.wake_up()

    def list_tenants(self) -> Collection[int]:
        return self.tenants


def attempt(message: Message) -> Attempt:
    """Send a message. Called by the threads, which never use the database."""
    headers = message.build_headers(timezone.now())
    try:
        answer = post(message.url, message.body, headers, settings.WEBHOOK_ALLOW)
    except Exception as error:  # a bug must not keep the place of the delivery among those sent
        log.exception("a webhook could not be sent")
        answer = Answer(0.0, error=f"The request failed: {type(error).__name__}.")
    return Attempt(message, answer)


def needs_work(tenant: Tenant) -> bool:
    """Return whether there is something to read or to send. Does not wait for a writer."""
    with inside(tenant, read_only=True):
        return has_news() or Delivery.objects.sendable(timezone.now()).exists()


def find_tenants() -> None:
    """Queue all tenants with webhooks. The queue does not contain those of a restored backup."""
    found = find_tenants_with("find tenants with webhooks", lambda: [Webhook.objects.all()])
    for tenant in [tenant for tenant in found if tenant.is_active]:
        with inside(tenant, read_only=True):
            has_webhooks = Webhook.objects.exists()
        if has_webhooks:
            DeliveryQueue.add(tenant.pk)
