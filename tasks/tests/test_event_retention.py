"""Events that are older than the retention are deleted, and what reads the log goes on working."""

from __future__ import annotations

import io
from datetime import timedelta
from ipaddress import ip_network
from threading import Event as Flag

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.models import Tenant
from taskflow.audit import retention
from taskflow.audit.feed import read_events
from taskflow.audit.models import Event
from taskflow.http.errors import Gone
from taskflow.tenancy import inside
from tasks.actions.tags import update_tag
from tasks.actions.webhooks import create_webhook, pause_webhook, resume_webhook
from tasks.models.registry import RESOURCE_TYPES
from tasks.scheduled.notifying import make_notifications
from tasks.scheduled.runner import TaskRun
from tasks.tests.factories import TaskFactory
from tasks.tests.receivers import receiving
from tasks.webhooks.deliverer import Deliverer

DAYS = 30


@pytest.fixture
def settings(settings):
    settings.EVENT_RETENTION_DAYS = DAYS
    return settings


def age_events(tenant, days=DAYS + 1):
    """Let all events and rows of now be so old."""
    created_at = timezone.now() - timedelta(days=days)
    with inside(tenant):
        for model in {Event, *(t.model for t in RESOURCE_TYPES)} - {Tenant}:
            model._base_manager.update(created_at=created_at)


def run_command(name):
    output = io.StringIO()
    call_command(name, stdout=output)
    return output.getvalue()


def purge(fixtures):
    """Age all events and rows of now, and delete the events."""
    age_events(fixtures.acme)
    run_command("purge")
    fixtures.acme.refresh_from_db()
    for actor in (fixtures.boss, fixtures.ada, fixtures.bob):
        actor.tenant.refresh_from_db()


@pytest.mark.django_db
def test_old_events_are_deleted_and_the_last_one_is_kept(fixtures, settings, as_):
    client = as_(fixtures.boss)
    before = client.get("/events?after=0&limit=200").json()["data"]

    purge(fixtures)

    (left,) = client.get("/events?after=0&limit=200").json()["data"]
    assert left["id"] == before[-1]["id"]
    assert client.get(f"/events?after={left['cursor']}").json()["data"] == []


@pytest.mark.django_db
def test_without_retention_all_events_are_kept(fixtures):
    with inside(fixtures.acme):
        count = Event.objects.count()

    purge(fixtures)

    with inside(fixtures.acme):
        assert Event.objects.count() == count
    assert fixtures.acme.events_missing_until is None


@pytest.mark.django_db
def test_events_within_the_retention_are_kept(fixtures, settings):
    age_events(fixtures.acme)
    with inside(fixtures.acme):
        new = TaskFactory(actor=fixtures.ada, project=fixtures.apollo)
    run_command("purge")

    with inside(fixtures.acme):
        assert set(Event.objects.values_list("subject_id", "verb")) == {(new.pk, "created")}


@pytest.mark.django_db
def test_only_the_beginning_of_the_log_is_deleted(fixtures, settings):
    """An older time after a newer one, as of a clock that was set back, keeps no reader."""
    with inside(fixtures.acme):
        first = Event.objects.earliest("pk")
        Event.objects.exclude(pk=first.pk).update(created_at=timezone.now() - timedelta(days=99))
        count = Event.objects.count()

    run_command("purge")

    with inside(fixtures.acme):
        assert Event.objects.count() == count


@pytest.mark.django_db
def test_many_events_are_deleted_in_parts(fixtures, settings, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 2)

    purge(fixtures)

    with inside(fixtures.acme):
        assert Event.objects.count() == 1


@pytest.mark.django_db
def test_cursor_of_a_deleted_event_is_refused_and_that_of_the_last_one_is_valid(fixtures, settings):
    with inside(fixtures.acme):
        events = read_events(fixtures.boss.viewer, "0", limit=200).events

    purge(fixtures)

    with inside(fixtures.acme):
        with pytest.raises(Gone):
            read_events(fixtures.boss.viewer, events[0].cursor)
        assert read_events(fixtures.boss.viewer, events[-1].cursor).events == []


@pytest.mark.django_db
@pytest.mark.slow
def test_verify_finds_no_difference(fixtures, settings):
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, tags=["red"])
    purge(fixtures)
    with inside(fixtures.acme):
        TaskFactory(actor=fixtures.ada, project=fixtures.apollo, parent=task)

    assert "All values are right" in run_command("verify")


@pytest.mark.django_db
def test_edit_of_a_version_whose_events_are_deleted_is_refused(fixtures, settings, as_):
    client = as_(fixtures.ada)
    path = f"/tasks/{fixtures.task.pk}"
    etag = client.get(path).headers["ETag"]
    client.patch(path, {"priority": "low"})
    client.patch(path, {"due_on": "2027-01-01"})
    purge(fixtures)

    refused = client.patch(path, {"title": "Mine"}, headers={"If-Match": etag})

    assert (refused.status_code, refused.json()["code"]) == (412, "changed_since")
    assert "does not hold" in refused.json()["detail"]
    again = client.patch(path, {"title": "Mine"}, headers={"If-Match": refused.headers["ETag"]})
    assert again.status_code == 200


@pytest.mark.django_db
def test_edits_since_a_version_whose_events_are_there_are_merged(fixtures, settings, as_):
    client = as_(fixtures.ada)
    path = f"/tasks/{fixtures.task.pk}"
    purge(fixtures)
    etag = client.get(path).headers["ETag"]
    client.patch(path, {"priority": "low"})

    merged = client.patch(path, {"title": "Mine"}, headers={"If-Match": etag})
    refused = client.patch(path, {"priority": "high"}, headers={"If-Match": etag})

    assert merged.status_code == 200
    assert refused.json()["errors"][0]["pointer"] == "#/priority"


@pytest.mark.django_db
def test_tasks_changed_before_the_log_begins_are_all_tasks(fixtures, settings, as_):
    """A tag may have been renamed since, which the log does not show any more."""
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, tags=["red"])
        update_tag(fixtures.boss, task.tags.get(), name="blue")
    purge(fixtures)
    since = f"{timezone.now() - timedelta(days=DAYS + 2):%Y-%m-%dT%H:%M:%SZ}"
    with inside(fixtures.acme):
        type(task).objects.update(updated_at=timezone.now() - timedelta(days=DAYS + 3))

    listed = client.get(f"/tasks?updated_since={since}").json()["data"]

    assert {row["id"] for row in listed} == {fixtures.task.pk, task.pk}


@pytest.mark.django_db
def test_changes_within_the_retention_can_be_undone(fixtures, settings, as_):
    client = as_(fixtures.ada)
    purge(fixtures)
    path = f"/tasks/{fixtures.task.pk}"
    client.patch(path, {"title": "Mistake"}, headers={"X-Request-Id": "mistake-1"})

    assert client.post("/undo", {"request_id": "mistake-1"}).status_code == 200

    assert client.get(path).json()["title"] == fixtures.task.title


@pytest.mark.django_db
def test_history_begins_with_the_first_event_that_is_kept(fixtures, settings, as_):
    client = as_(fixtures.ada)
    purge(fixtures)
    client.patch(f"/tasks/{fixtures.task.pk}", {"title": "Later"})

    (entry,) = client.get(f"/tasks/{fixtures.task.pk}/events").json()["data"]

    assert entry["verb"] == "task.changed"


@pytest.mark.django_db
def test_resumed_webhook_skips_deleted_events_and_sends_those_that_follow(fixtures, settings):
    settings.WEBHOOK_ALLOW = (ip_network("127.0.0.1"),)
    with receiving() as receiver:
        with inside(fixtures.acme):
            hook = create_webhook(fixtures.ada, url=receiver.url, project=fixtures.apollo)
            pause_webhook(fixtures.ada, hook)
            TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Deleted")
            last = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Last of the log")
        purge(fixtures)
        with inside(fixtures.acme):
            resume_webhook(fixtures.ada, hook)
            kept = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Kept")

        Deliverer().run_until_idle()

    subjects = sorted(pk for received in receiver.received for pk in received.subjects)
    assert subjects == [last.pk, kept.pk]


@pytest.mark.django_db
def test_inbox_skips_deleted_events_and_shows_those_that_follow(fixtures, settings, as_):
    make_notifications(TaskRun("", Flag()))
    client = as_(fixtures.ada)
    path = f"/tasks/{fixtures.task.pk}"
    client.patch(path, {"assignee": "@bob"})
    purge(fixtures)
    client.post("/comments", {"task": fixtures.task.key, "body": "@bob Ready?"})

    make_notifications(TaskRun("", Flag()))

    listed = as_(fixtures.bob).get("/notifications").json()["data"]
    assert [row["kind"] for row in listed] == ["mentioned"]
