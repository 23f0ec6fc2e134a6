"""What a deliverer sends, in which order, and what it does when a receiver fails."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.utils import timezone

from accounts.actions.users import update_user
from taskflow.audit.models import Event
from taskflow.audit.webhooks import client
from taskflow.tenancy import inside
from tasks.actions.members import remove_member
from tasks.actions.pages import create_page
from tasks.actions.webhooks import (
    create_webhook,
    pause_webhook,
    ping,
    redeliver,
    resume_webhook,
    rotate_secret,
)
from tasks.changes.tasks import complete_task, create_task, update_task
from tasks.models import Delivery, ProjectMember, Webhook
from tasks.tests.receivers import receiving
from tasks.webhooks import attempts, deliverer, reading
from tasks.webhooks.deliverer import Deliverer


@pytest.fixture(autouse=True)
def _local(settings):
    """Receivers of this computer are allowed."""
    settings.WEBHOOK_ALLOW = (ip_network("127.0.0.1"),)


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


@pytest.fixture
def hook(fixtures, receiver):
    """A webhook of Ada for the project Apollo."""
    with inside(fixtures.acme):
        return create_webhook(fixtures.ada, url=receiver.url, project=fixtures.apollo)


def deliver():
    Deliverer().run_until_idle()


def reload(row):
    return Webhook.objects.select_related("owner", "project").get(pk=row.pk)


def make_due(fixtures):
    with inside(fixtures.acme):
        Delivery.objects.pending().update(next_attempt_at=timezone.now())


def test_change_is_delivered_signed_in_the_form_of_the_feed(fixtures, hook, receiver):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="Lift off")

    deliver()

    (received,) = receiver.received
    document = received.document
    (event,) = document["data"]["events"]
    assert document["type"] == event["verb"] == "task.changed"
    assert event["changes"]["title"] == ["Launch", "Lift off"]
    assert event["actor"]["handle"] == "ada"
    assert document["timestamp"] == event["at"]
    key = base64.b64decode(hook.secret.removeprefix("whsec_"))
    signed = f"{received.message_id}.{received.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key, signed + received.body, hashlib.sha256).digest()
    assert received.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    with inside(fixtures.acme):
        delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.response_status) == ("delivered", 1, 200)
    assert delivery.response_start == "ok"


def test_deliverer_pauses_after_each_transaction_for_other_writers(
    fixtures, hook, receiver, monkeypatch
):
    steps = []
    monkeypatch.setattr(deliverer, "pause_for_writers", lambda worked: steps.append("pause"))
    record = deliverer.record_attempts
    monkeypatch.setattr(
        deliverer, "record_attempts", lambda *given: steps.append("write") or record(*given)
    )
    for title in "abc":
        with inside(fixtures.acme):
            update_task(replace(fixtures.ada, request_id=title), fixtures.task, title=title)

    deliver()

    assert len(receiver.received) == 3
    assert steps == ["write", "pause"] * (len(steps) // 2)


def test_events_of_one_request_about_one_subject_are_one_delivery(fixtures, hook, receiver):
    actor = replace(fixtures.ada, request_id="one")
    with inside(fixtures.acme):
        update_task(actor, fixtures.task, title="A")
        other = create_task(actor, fixtures.apollo, title="Other")
        update_task(actor, fixtures.task, title="B")
        update_task(replace(fixtures.ada, request_id="two"), fixtures.task, title="C")

    deliver()

    titles = {}
    for received in receiver.received:
        for event in received.document["data"]["events"]:
            titles.setdefault(received.message_id, []).append(event["changes"]["title"][1])
    assert sorted(titles.values()) == [["A", "B"], ["C"], ["Other"]]
    assert sorted(len(r.subjects) for r in receiver.received if other.pk in r.subjects) == [1]


def test_request_is_not_split_by_the_end_of_a_page(fixtures, hook, receiver, monkeypatch):
    monkeypatch.setattr(reading, "PAGE", 3)
    with inside(fixtures.acme):
        for number in range(4):
            actor = replace(fixtures.ada, request_id=f"r{number}")
            update_task(actor, fixtures.task, title=f"{number}a")
            update_task(actor, fixtures.task, title=f"{number}b")

    deliver()

    assert [len(r.document["data"]["events"]) for r in receiver.received] == [2, 2, 2, 2]


def test_failing_subject_holds_back_only_itself(fixtures, hook, receiver):
    with inside(fixtures.acme):
        other = create_task(fixtures.ada, fixtures.apollo, title="Other")
    deliver()
    receiver.received.clear()
    receiver.fail_with = 500
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="first")
    deliver()
    receiver.fail_with = None
    with inside(fixtures.acme):
        update_task(replace(fixtures.ada, request_id="x"), fixtures.task, title="second")
        update_task(fixtures.ada, other, title="elsewhere")

    deliver()

    assert [r.subjects for r in receiver.received] == [[fixtures.task.pk], [other.pk]]
    make_due(fixtures)
    deliver()
    titles = [
        r.document["data"]["events"][0]["changes"]["title"][1]
        for r in receiver.received
        if r.subjects == [fixtures.task.pk]
    ]
    assert titles == ["first", "first", "second"]
    assert receiver.received[0].message_id == receiver.received[2].message_id


@pytest.mark.parametrize("behaviour", ["die", "redirect", "hang"])
def test_receiver_that_does_not_accept_gets_the_delivery_again(
    fixtures, hook, receiver, behaviour, monkeypatch
):
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)
    receiver.behaviour = behaviour
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="x")

    deliver()

    with inside(fixtures.acme):
        delivery, failures = Delivery.objects.get(), reload(hook).failure_count
    assert (delivery.state, delivery.attempts, failures) == ("pending", 1, 1)
    assert delivery.response_status == (302 if behaviour == "redirect" else None)
    assert bool(delivery.error) is (behaviour != "redirect")
    seconds = (delivery.next_attempt_at - delivery.attempted_at).total_seconds()
    assert 3.9 < seconds < 6.1
    receiver.behaviour = ""
    make_due(fixtures)
    deliver()
    assert {r.path for r in receiver.received} == {"/"}, "a redirect was followed"
    assert len({r.message_id for r in receiver.received}) == 1
    with inside(fixtures.acme):
        assert (Delivery.objects.get().state, reload(hook).failure_count) == ("delivered", 0)


def test_webhook_is_paused_after_the_last_retry_and_resumes_with_what_came_meanwhile(
    fixtures, hook, receiver, monkeypatch
):
    monkeypatch.setattr(attempts, "RETRY_DELAYS", (0, 0))
    receiver.fail_with = 503
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="first")

    deliver()

    with inside(fixtures.acme):
        paused = reload(hook)
        event = Event.objects.filter(subject_type="webhook", verb="paused").get()
        update_task(replace(fixtures.ada, request_id="y"), fixtures.task, title="second")
    assert (paused.state, paused.pause_reason) == ("paused", "failed")
    assert (event.actor_id, event.operator_id) == (None, None)
    assert len(receiver.received) == 3
    deliver()
    assert len(receiver.received) == 3
    receiver.fail_with = None
    with inside(fixtures.acme):
        resume_webhook(fixtures.ada, reload(hook))
    deliver()
    titles = [
        event["changes"]["title"][1]
        for r in receiver.received
        for event in r.document["data"]["events"]
    ]
    assert titles == ["first", "first", "first", "first", "second"]


def test_retries_last_for_24_hours():
    hours = sum(attempts.RETRY_DELAYS) / 3600

    assert 23 < hours < 25


def test_event_that_the_owner_may_not_see_is_not_sent(fixtures, receiver):
    with inside(fixtures.acme):
        create_webhook(fixtures.carl, url=receiver.url, project=fixtures.apollo)
        update_task(fixtures.ada, fixtures.task, title="seen")
        remove_member(fixtures.ada, ProjectMember.objects.get(user=fixtures.carl.user))
        update_task(replace(fixtures.ada, request_id="z"), fixtures.task, title="hidden")

    deliver()

    assert receiver.received == []


def test_delivery_is_withheld_when_the_owner_has_lost_the_project(fixtures, receiver):
    receiver.fail_with = 500
    with inside(fixtures.acme):
        create_webhook(fixtures.carl, url=receiver.url, project=fixtures.apollo)
        update_task(fixtures.ada, fixtures.task, title="seen")
    deliver()
    with inside(fixtures.acme):
        remove_member(fixtures.ada, ProjectMember.objects.get(user=fixtures.carl.user))
    make_due(fixtures)

    deliver()

    assert len(receiver.received) == 1
    with inside(fixtures.acme):
        assert [d.state for d in Delivery.objects.all()] == ["withheld"]


def test_draft_of_another_user_is_not_sent_by_a_webhook_of_the_project_after_a_demotion(
    fixtures, receiver
):
    with inside(fixtures.acme):
        create_webhook(fixtures.carl, url=receiver.url, project=fixtures.apollo)
        ProjectMember.objects.filter(user=fixtures.carl.user).update(role="member")
        create_page(fixtures.ada, fixtures.apollo, title="Draft")

    deliver()

    assert receiver.received == []


def test_webhook_of_a_deactivated_owner_is_paused(fixtures, receiver):
    with inside(fixtures.acme):
        hook = create_webhook(fixtures.carl, url=receiver.url, project=fixtures.apollo)
        update_user(fixtures.boss, fixtures.carl.user, is_active=False)
        update_task(fixtures.ada, fixtures.task, title="x")

    deliver()

    assert receiver.received == []
    with inside(fixtures.acme):
        assert reload(hook).pause_reason == "owner_deactivated"


def test_webhook_with_event_types_sends_only_these(fixtures, receiver):
    with inside(fixtures.acme):
        create_webhook(
            fixtures.ada, url=receiver.url, project=fixtures.apollo, event_types=["task.completed"]
        )
        update_task(fixtures.ada, fixtures.task, title="x")
        complete_task(replace(fixtures.ada, request_id="c"), fixtures.task)

    deliver()

    assert [r.document["type"] for r in receiver.received] == ["task.completed"]


def test_webhook_of_the_tenant_sends_nothing_of_another_tenant(fixtures, receiver):
    with inside(fixtures.acme):
        create_webhook(fixtures.boss, url=receiver.url)
    deliver()
    receiver.received.clear()
    with inside(fixtures.globex):
        update_task(fixtures.mallory, fixtures.secret_task, title="x")

    deliver()

    assert receiver.received == []


def test_rotation_signs_with_both_secrets_for_a_day(fixtures, hook, receiver):
    former = hook.secret
    with inside(fixtures.acme):
        rotated = rotate_secret(fixtures.ada, hook)
        ping(fixtures.ada, hook)
    assert rotated.secret != former
    now = timezone.now()

    assert rotated.list_secrets(now) == [rotated.secret, former]
    assert rotated.list_secrets(now + timedelta(hours=25)) == [rotated.secret]
    deliver()
    pings = [r for r in receiver.received if r.document["type"] == "ping"]
    assert len(pings[0].headers["webhook-signature"].split(" ")) == 2
    assert pings[0].document["data"] == {"events": []}


def test_redelivery_has_the_same_id(fixtures, hook, receiver):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="x")
    deliver()
    with inside(fixtures.acme):
        delivery = Delivery.objects.select_related("webhook__project").get()
        redeliver(fixtures.ada, delivery)

    deliver()

    assert len(receiver.received) == 2
    assert len({r.message_id for r in receiver.received}) == 1


def test_paused_webhook_sends_nothing(fixtures, hook, receiver):
    with inside(fixtures.acme):
        pause_webhook(fixtures.ada, hook)
        update_task(fixtures.ada, fixtures.task, title="x")

    deliver()

    assert receiver.received == []
    with inside(fixtures.acme):
        assert not Delivery.objects.exists(), "what comes later stays in the feed"


def test_lease_of_another_deliverer_is_respected_until_it_ends(fixtures, hook, receiver):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="x")
        Webhook.objects.update(failure_count=0)
        reading.read_news(fixtures.acme)
        Delivery.objects.update(lease="other", leased_until=timezone.now() + timedelta(minutes=1))
    deliver()
    assert receiver.received == []

    with inside(fixtures.acme):
        Delivery.objects.update(leased_until=timezone.now())
    deliver()

    assert len(receiver.received) == 1


def test_result_of_a_lost_lease_changes_nothing(fixtures, hook):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="x")
        reading.read_news(fixtures.acme)
        (delivery,) = Delivery.objects.all()
        Delivery.objects.all().lease([delivery], "mine", timezone.now())
        Delivery.objects.update(lease="other")

        attempts._record(fixtures.acme, delivery, client.Answer(0.1, 200))

        assert Delivery.objects.get().state == "pending"
