"""What is done for all tenants enters only those in which there is something to do."""

from __future__ import annotations

from datetime import timedelta
from threading import Event as Flag

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import IdempotencyRecord, MailPurpose, MailToken, Session, Tenant
from taskflow.audit.models import Event
from taskflow.tenancy import can_read_across_tenants, inside
from tasks.export.unfinished import finished_tenants
from tasks.models import (
    Delivery,
    Notification,
    NotificationPosition,
    NotificationPreference,
    Task,
    Webhook,
)
from tasks.scheduled import tenants as tenants_module
from tasks.scheduled.digests import choose_due
from tasks.scheduled.notifying import choose_news, has_news, make_notifications
from tasks.scheduled.purging import (
    find_tenants_with_expired_rows,
    find_tenants_with_old_events,
    find_tenants_with_trash,
    purge_expired,
    purge_trash,
)
from tasks.scheduled.runner import TaskRun
from tasks.scheduled.tenants import find_tenants, find_tenants_with

LONG_AGO = timezone.now() - timedelta(days=400)


def run_of_task() -> TaskRun:
    return TaskRun("", Flag())


@pytest.fixture(autouse=True)
def platform_role(db):
    if not can_read_across_tenants(connection):
        pytest.skip("this login enters all tenants")


# ---- each reason to enter a tenant ---------------------------------------------------------------


def put_in_trash(fixtures):
    Task.everything.filter(pk=fixtures.task.pk).update(deleted_at=LONG_AGO)


def add_record(fixtures):
    record = IdempotencyRecord(user_id=fixtures.ada.user.pk, key="k", fingerprint="", body="")
    IdempotencyRecord.objects.bulk_create([record])
    IdempotencyRecord.objects.update(created_at=LONG_AGO)


def add_link(fixtures):
    row = MailToken(purpose=MailPurpose.INVITATION, digest="d", expires_at=LONG_AGO)
    MailToken.objects.bulk_create([row])


def add_session(fixtures):
    times = {"last_used_at": LONG_AGO, "expires_at": LONG_AGO}
    Session.objects.start(Session(user=fixtures.ada.user, **times))


def add_webhook(fixtures) -> Webhook:
    webhook = Webhook(owner=fixtures.boss.user, url="https://receiver.example/")
    Webhook.objects.bulk_create([webhook])
    return Webhook.objects.get()


def add_delivery(fixtures):
    delivery = Delivery(webhook=add_webhook(fixtures), event_type="ping", finished_at=LONG_AGO)
    Delivery.objects.bulk_create([delivery])


def add_notification(fixtures):
    row = Notification(user=fixtures.bob.user, kind="assigned", task=fixtures.task)
    Notification.objects.add([row])
    Notification.objects.update(created_at=LONG_AGO)


def age_events(fixtures):
    Event.objects.filter(pk=Event.objects.earliest("pk").pk).update(created_at=LONG_AGO)


def want_digest(fixtures):
    NotificationPreference.store(fixtures.bob.user, {"digest": "daily"})


def find_trash():
    return find_tenants_with_trash(timezone.now() - timedelta(days=30))


def find_webhooks():
    return find_tenants_with("test", lambda: [Webhook.objects.all()])


def find_digests():
    return find_tenants("test", choose_due)


@pytest.mark.parametrize(
    ("make_row", "find"),
    [
        (put_in_trash, find_trash),
        (add_record, find_tenants_with_expired_rows),
        (add_link, find_tenants_with_expired_rows),
        (add_session, find_tenants_with_expired_rows),
        (add_delivery, find_tenants_with_expired_rows),
        (add_notification, find_tenants_with_expired_rows),
        (age_events, find_tenants_with_old_events),
        (add_webhook, find_webhooks),
        (want_digest, find_digests),
    ],
)
def test_only_the_tenant_with_such_a_row_is_found(fixtures, settings, make_row, find, monkeypatch):
    settings.EVENT_RETENTION_DAYS = 30
    monkeypatch.setattr("tasks.scheduled.digests.MORNING", 0)
    assert list(find()) == []

    with inside(fixtures.acme):
        make_row(fixtures)

    assert list(find()) == [fixtures.acme]


def test_last_event_of_a_tenant_is_no_reason_to_enter_it(fixtures, settings):
    settings.EVENT_RETENTION_DAYS = 30
    with inside(fixtures.globex):
        last = Event.objects.latest("pk").pk
        Event.objects.exclude(pk=last).delete()
        Event.objects.update(created_at=LONG_AGO)

    assert list(find_tenants_with_old_events()) == []


def find_news():
    return list(find_tenants("test", choose_news))


def test_tenants_with_new_events_are_found_until_their_events_are_read(fixtures):
    assert {fixtures.acme, fixtures.globex} <= {*find_news()}
    make_notifications(run_of_task())
    assert find_news() == []

    with inside(fixtures.acme):
        age_events(fixtures)  # the last event is the same
    assert find_news() == []

    with inside(fixtures.acme):
        last = Event.objects.latest("pk")
        last.pk = None
        Event.objects.bulk_create([last])

    assert find_news() == [fixtures.acme]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
@pytest.mark.parametrize("column", ["due_date", "due_on"])
def test_tenant_with_an_overdue_task_is_found_once(fixtures, zone, column):
    make_notifications(run_of_task())
    Tenant.objects.filter(pk=fixtures.acme.pk).update(time_zone=zone)
    acme = Tenant.objects.get(pk=fixtures.acme.pk)
    yesterday = timezone.now() - timedelta(days=1)
    due = {"due_date": yesterday + timedelta(hours=1), "due_on": acme.day_of(yesterday)}
    with inside(acme):
        Task.objects.filter(pk=fixtures.task.pk).update(
            **{column: due[column]}, assignee=fixtures.bob.user, status="todo"
        )
    assert find_news() == []
    with inside(acme):
        NotificationPosition.objects.update(overdue_until=yesterday)

    assert has_news(acme)
    assert find_news() == [acme]
    make_notifications(run_of_task())
    assert find_news() == []


# ---- what it costs -------------------------------------------------------------------------------


def count_statements(work) -> int:
    with CaptureQueriesContext(connection) as context:
        work()
    return len(context)


@pytest.mark.parametrize(
    "work",
    [
        lambda: call_command("purge"),
        lambda: purge_trash(run_of_task()),
        lambda: purge_expired(run_of_task()),
        lambda: make_notifications(run_of_task()),
    ],
    ids=["purge", "purge_trash", "purge_expired", "make_notifications"],
)
def test_tenants_with_nothing_to_do_cost_no_statement(fixtures, settings, work):
    settings.EVENT_RETENTION_DAYS = 30
    make_notifications(run_of_task())
    few = count_statements(work)

    Tenant.objects.bulk_create([Tenant(name=f"T{n}", subdomain=f"t{n}") for n in range(20)])
    make_notifications(run_of_task())

    assert count_statements(work) == few


# ---- how they are found --------------------------------------------------------------------------


def test_tenants_are_found_in_all_ranges(fixtures, monkeypatch):
    monkeypatch.setattr(tenants_module, "RANGE", 1)

    found = find_tenants_with("test", lambda: [Task.objects.all()])

    assert list(found) == sorted([fixtures.acme, fixtures.globex], key=lambda tenant: tenant.pk)


def test_all_tenants_are_entered_when_finding_takes_too_long(fixtures, caplog):
    def choose(tenants):
        raise OperationalError("canceling statement due to statement timeout")

    assert list(find_tenants("find something", choose)) == list(finished_tenants())
    assert "failed to find something" in caplog.text


def test_login_that_cannot_read_across_tenants_enters_all(fixtures, monkeypatch):
    monkeypatch.setattr(tenants_module, "can_read_across_tenants", lambda connection: False)

    found = find_tenants_with("test", lambda: [Webhook.objects.all()])

    assert list(found) == list(finished_tenants())
