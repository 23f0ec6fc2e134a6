"""Long commands on SQLite work in batches: other writers wait for less than a second."""

from __future__ import annotations

import io
import threading
import time

import pytest
from django.core.management import call_command
from django.db import connection

from accounts.models import Tenant
from taskflow.db import batches
from taskflow.tenancy import inside
from tasks.actions import trash
from tasks.actions.projects import delete_project
from tasks.changes.create import CreateTask, create_tasks
from tasks.export import importing, unfinished
from tasks.export.exporting import export_tenant
from tasks.export.importing import import_tenant
from tasks.export.verifying import InvalidExport, verify
from tasks.models import Comment, Project, Task

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.raw_sql,  # it counts the rows of all tenants
    pytest.mark.skipif("connection.vendor != 'sqlite'"),
]


@pytest.fixture
def exported(fixtures):
    """The export of a tenant with 300 tasks, some of which have parents."""
    with inside(fixtures.acme):
        drafts = [CreateTask(fixtures.apollo, f"t{n}", {}) for n in range(300)]
        create_tasks(fixtures.ada, drafts)
    file = io.BytesIO()
    export_tenant(fixtures.acme, file, lambda _: None)
    return file


def load(file, **how):
    file.seek(0)
    return import_tenant(file, verify(file), how.pop("progress", lambda _: None), **how)


def other_writer_waits(fixtures, during):
    """Create tasks in another thread while `during` runs. Return the longest wait, in seconds."""
    waits, has_ended = [], threading.Event()

    def write():
        while not has_ended.is_set():
            started = time.monotonic()
            with inside(fixtures.globex):
                create_tasks(fixtures.mallory, [CreateTask(fixtures.secret, "x", {})])
            waits.append(time.monotonic() - started)
            time.sleep(0.01)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        during()
    finally:
        has_ended.set()
        thread.join()
    assert len(waits) > 3
    return max(waits)


def test_transactions_of_an_import_are_short_and_other_writers_get_in_between(
    fixtures, exported, monkeypatch
):
    monkeypatch.setattr(importing, "BATCH_ROWS", 50)
    held, pauses = [], []
    original = importing._insert_chunk

    def insert(model, tenant, chunk, file_format):
        held.append(len(chunk))
        assert Tenant.objects.filter(subdomain="copy").count() == 0
        original(model, tenant, chunk, file_format)

    monkeypatch.setattr(importing, "_insert_chunk", insert)
    monkeypatch.setattr(importing, "pause_for_writers", lambda: pauses.append(1) or
                        batches.pause_for_writers())  # fmt: skip

    wait = other_writer_waits(fixtures, lambda: load(exported, subdomain="copy"))

    assert max(held) == 50
    assert len(pauses) >= len(held) > 10
    assert wait < 3  # a transaction takes some milliseconds, and the machine may be busy
    tenant = Tenant.objects.get(subdomain="copy")
    with inside(tenant):
        assert (tenant.is_active, Task.objects.count()) == (True, 301)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_import_that_fails_in_the_middle_leaves_nothing(fixtures, exported, monkeypatch, error):
    monkeypatch.setattr(importing, "BATCH_ROWS", 50)
    before = row_counts()

    def fail(count):
        if Tenant.objects.filter(subdomain__startswith=unfinished.PREFIX).exists():
            fail.calls += 1
            if fail.calls == 8:
                raise error

    fail.calls = 0
    with pytest.raises(error):
        load(exported, subdomain="copy", progress=fail)

    assert row_counts() == before
    load(exported, subdomain="copy")


def row_counts():
    counts = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if "_search" not in table and not table.startswith(("sqlite", "django")):
                cursor.execute(f'SELECT count(*) FROM "{table}"')
                counts[table] = cursor.fetchone()[0]
    return counts


def test_killed_import_is_removed_by_the_next_import_or_purge(fixtures, exported, monkeypatch):
    """What a kill leaves: the hidden tenant and some of its rows."""
    before = row_counts()
    for remove in (
        lambda: call_command("purge", verbosity=0),
        lambda: load(exported, subdomain="copy"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(importing, "discard", lambda tenant: None)
            patched.setattr(importing, "publish", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                load(exported, subdomain="copy")
        assert row_counts()["tasks_task"] > before["tasks_task"]
        remove()
        assert not Tenant.objects.filter(subdomain__startswith=unfinished.PREFIX).exists()
    assert row_counts()["accounts_tenant"] == before["accounts_tenant"] + 1


def test_unfinished_tenant_is_neither_backed_up_nor_verified(fixtures, exported, monkeypatch):
    monkeypatch.setattr(importing, "discard", lambda tenant: None)
    monkeypatch.setattr(importing, "publish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load(exported, subdomain="copy")

    names = {tenant.subdomain for tenant in unfinished.finished_tenants()}

    assert names == {"acme", "globex"}


def test_second_import_at_the_same_time_is_refused(exported):
    with unfinished.one_import_at_a_time(), pytest.raises(InvalidExport, match="Another import"):
        load(exported, subdomain="copy")


def test_purge_of_a_large_project_consists_of_short_transactions(fixtures, monkeypatch):
    monkeypatch.setattr(trash, "CHUNK", 20)
    with inside(fixtures.acme):
        create_tasks(fixtures.ada, [CreateTask(fixtures.apollo, f"t{n}", {}) for n in range(70)])
        delete_project(fixtures.ada, Project.objects.get(pk=fixtures.apollo.pk))
    calls = []
    original = trash.remove_all
    monkeypatch.setattr(
        trash, "remove_all", lambda a, rows, verb: calls.append(rows.count()) or
        original(a, rows, verb))  # fmt: skip

    call_command("purge", days=-1, verbosity=0)

    assert max(calls) <= 20
    assert sum(calls) >= 71
    with inside(fixtures.acme):
        assert not Project.everything.exists()
        assert not Task.everything.exists()
        assert not Comment.everything.exists()
