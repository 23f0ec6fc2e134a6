"""The feed of a tenant that was imported or restored: epochs, and cursors from before."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from django.core.management import call_command

from taskflow.audit.feed import BEGINNING, latest_cursor, parse_cursor, read_events
from taskflow.audit.models import Event
from taskflow.http.errors import Gone
from taskflow.tenancy import inside
from tasks.changes.tasks import create_task, update_task
from tasks.export.backup import restore_backup, write_backup
from tasks.export.backup_file import verify_backup
from tasks.models import Task
from tasks.tests.exports import export, load, wipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.raw_sql,  # wipe() deletes the rows of all tenants
]


def read_all(actor, after=BEGINNING):
    page = read_events(actor.viewer, after, limit=200)
    assert not page.has_more
    return page.events


def content_of(events):
    return [(e.epoch, e.sequence, e.verb, e.subject_type, e.created_at) for e in events]


@pytest.fixture
def written(fixtures):
    """A tenant with events of several transactions, one of which has several events."""
    for number in range(3):
        with inside(fixtures.acme):
            task = create_task(fixtures.ada, fixtures.apollo, title=f"t{number}")
            update_task(fixtures.ada, task, title=f"T{number}")
    with inside(fixtures.acme):
        return read_all(fixtures.boss)


def assert_cursors_are_valid(actor, before):
    """Check that reading on at each cursor from before gives what has followed there."""
    with inside(actor.tenant):
        events = read_all(actor)
        assert content_of(events)[: len(before)] == content_of(before)
        assert [e.cursor for e in events][: len(before)] == [e.cursor for e in before]
        for number, event in enumerate(before):
            assert read_all(actor, event.cursor) == events[number + 1 :]


def user_of(tenant, actor):
    """The same user in the imported tenant, as an actor."""
    with inside(tenant):
        user = type(actor.user).objects.get(handle=actor.user.handle)
    return replace(actor, user=user, tenant=tenant)


def test_cursors_stay_valid_when_a_tenant_is_imported_with_its_ids(fixtures, written):
    data = export(fixtures.acme)
    wipe()
    tenant, _ = load(data)
    boss = user_of(tenant, fixtures.boss)

    assert_cursors_are_valid(boss, written)
    assert tenant.event_epoch == 2


def test_cursors_stay_valid_when_ids_are_shifted_twice(fixtures, written):
    """Each import adds a number to the ids, and events of each tenant are written in between."""
    before, data = written, export(fixtures.acme)
    for number in (2, 3):
        tenant, _ = load(data, subdomain=f"copy{number}")
        boss = user_of(tenant, fixtures.boss)
        assert_cursors_are_valid(boss, before)
        assert tenant.event_epoch == number
        with inside(tenant):
            update_task(boss, Task.objects.first(), title=f"Later {number}")
        with inside(tenant):
            before = read_all(boss)
        assert (before[-1].epoch, before[-1].verb) == (number, "changed")
        data = export(tenant)


def test_new_events_come_after_imported_ones_of_larger_transaction_ids(fixtures, written):
    with inside(fixtures.acme):
        Event.objects.update(sequence=2**60)
    data = export(fixtures.acme)
    tenant, _ = load(data, subdomain="copy")
    boss = user_of(tenant, fixtures.boss)
    with inside(tenant):
        cursor = latest_cursor()
        update_task(boss, Task.objects.first(), title="Later")

    with inside(tenant):
        assert [e.verb for e in read_all(boss, cursor)] == ["changed"]


def test_export_of_an_imported_tenant_is_the_same_file(fixtures, written):
    data = export(fixtures.acme)
    wipe()
    tenant, _ = load(data)

    assert export(tenant) == data


def test_cursors_stay_valid_after_a_restore(fixtures, written):
    file = io.BytesIO()
    write_backup(file, lambda _: None)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Lost")
    with inside(fixtures.acme):
        lost = latest_cursor()
    wipe()
    restore_backup(file, verify_backup(file), lambda _: None)

    fixtures.acme.refresh_from_db()
    assert fixtures.acme.event_epoch == 2
    assert_cursors_are_valid(fixtures.boss, written)
    with inside(fixtures.acme), pytest.raises(Gone):
        read_events(fixtures.boss.viewer, lost)
    with inside(fixtures.acme):
        create_task(user_of(fixtures.acme, fixtures.ada), fixtures.apollo, title="New")
    with inside(fixtures.acme):
        assert parse_cursor(latest_cursor()).epoch == 2


def test_command_begins_an_epoch_after_the_events_of_another_server(fixtures, written):
    """As after pg_restore into a server whose ids of transactions are smaller."""
    with inside(fixtures.acme):
        Event.objects.update(sequence=2**60)
    call_command("begin_event_epoch", stdout=io.StringIO())
    call_command("begin_event_epoch", stdout=io.StringIO())  # nothing to do
    fixtures.acme.refresh_from_db()
    assert fixtures.acme.event_epoch == 2
    with inside(fixtures.acme):
        cursor = latest_cursor()
        ada = user_of(fixtures.acme, fixtures.ada)
        create_task(ada, fixtures.apollo, title="Later")

    with inside(fixtures.acme):
        assert [e.verb for e in read_all(fixtures.boss, cursor)] == ["created"]
