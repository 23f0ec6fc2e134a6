"""Which events and which passing of time make a notification, and for whom."""

from __future__ import annotations

from datetime import timedelta
from threading import Event as Flag

import pytest
from django.utils import timezone

from accounts.models import User
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Notification, NotificationPosition, NotificationPreference, Task
from tasks.scheduled import notifying
from tasks.scheduled.notifying import has_news, make_notifications, notify_some
from tasks.scheduled.runner import TaskRun

API = "/api/v1"


def run() -> None:
    make_notifications(TaskRun("", Flag()))


@pytest.fixture
def read(fixtures):
    """Run the task, and return the new notifications as (handle, kind), sorted."""
    run()
    seen = set()
    with inside(fixtures.acme):
        Notification.objects.all().delete()

    def read():
        run()
        with inside(fixtures.acme):
            rows = Notification.objects.exclude(pk__in=seen)
            found = list(rows.values_list("pk", "user__handle", "kind"))
        seen.update(pk for pk, _, _ in found)
        return sorted((handle, kind) for _, handle, kind in found)

    return read


@pytest.fixture
def task(fixtures) -> str:
    return f"{API}/tasks/{fixtures.task.pk}"


def test_assignment_by_another_user_notifies_the_assignee(fixtures, as_, task, read):
    as_(fixtures.ada).patch(task, {"assignee": "@bob"})

    assert read() == [("bob", "assigned")]
    with inside(fixtures.acme):
        row = Notification.objects.get()
        event = Event.objects.filter(subject_type="task").latest("pk")
        assert (row.actor, row.task_id, row.created_at) == (
            fixtures.ada.user,
            fixtures.task.pk,
            event.created_at,
        )
    assert read() == []


def test_own_action_notifies_nobody(fixtures, as_, task, read):
    as_(fixtures.bob).patch(task, {"assignee": "@bob", "description": "@bob"})

    assert read() == []


def test_new_task_notifies_assignee_and_mentioned_users(fixtures, as_, read):
    body = {"project": "APO", "title": "x", "assignee": "@bob", "description": "@carl and @eve"}
    as_(fixtures.ada).post(f"{API}/tasks", body)

    # Eve is no member.
    assert read() == [("bob", "assigned"), ("carl", "mentioned")]


def test_mention_in_comment_page_and_project_notifies_once(fixtures, as_, read):
    ada = as_(fixtures.ada)
    comment = ada.post(f"{API}/comments", {"task_id": fixtures.task.pk, "body": "@bob"}).json()
    ada.post(f"{API}/pages", {"project": "APO", "title": "x", "body": "`@carl` @bob"})
    ada.patch(f"{API}/projects/APO", {"description": "@boss"})

    assert read() == [("bob", "mentioned"), ("bob", "mentioned"), ("boss", "mentioned")]

    ada.patch(f"{API}/comments/{comment['id']}", {"body": "@bob, and @carl"})
    assert read() == [("carl", "mentioned")]


def test_ready_task_notifies_its_assignee(fixtures, as_, task, read):
    bob = as_(fixtures.bob)
    blocker = bob.post(f"{API}/tasks", {"project": "APO", "title": "first"}).json()
    bob.patch(task, {"blocked_by": [blocker["id"]]})
    read()

    bob.post(f"{API}/tasks/{blocker['id']}/completion")

    assert read() == [("ada", "unblocked")]


@pytest.mark.parametrize(
    ("outcome", "notified"),
    [
        ("released", [("ada", "handed_back")]),
        ("failed", [("ada", "handed_back")]),
        ("needs_input", [("bob", "needs_input")]),
        ("completed", []),
    ],
)
def test_end_of_a_claim_notifies_who_has_the_task_then(fixtures, as_, read, outcome, notified):
    bot = as_(fixtures.bot)
    as_(fixtures.ada).patch(f"{API}/tasks/{fixtures.task.pk}", {"assignee": "@bot"})
    as_(fixtures.ada).patch(f"{API}/tasks/{fixtures.task.pk}", {"assignee": None})
    with inside(fixtures.acme):
        Task.objects.filter(pk=fixtures.task.pk).update(assignee=None)
    claim = bot.post(f"{API}/claims", {"task": "APO-1"}).json()["data"][0]
    with inside(fixtures.acme):  # as if the row had belonged to Ada before
        claims = Task._meta.apps.get_model("tasks", "claim").objects
        claims.filter(pk=claim["id"]).update(assignee_before=fixtures.ada.user)
    read()

    body = {"outcome": outcome} | ({"assign_to": "@bob"} if outcome == "needs_input" else {})
    answer = bot.post(f"{API}/claims/{claim['id']}/completion", body)

    assert answer.status_code == 200, answer.json()
    assert read() == notified


def test_deactivated_users_and_muted_kinds_get_nothing(fixtures, as_, task, read):
    with inside(fixtures.acme):
        NotificationPreference.store(fixtures.carl.user, {"muted": ["mentioned"]})
    as_(fixtures.ada).patch(task, {"assignee": "@bob", "description": "@carl"})
    with inside(fixtures.acme):
        User.objects.filter(handle="bob").update(is_active=False)

    assert read() == []


def test_task_becomes_overdue_once_when_its_time_has_passed(fixtures, as_, task, read):
    now = timezone.now()
    as_(fixtures.ada).patch(task, {"due_date": (now + timedelta(hours=1)).isoformat()})
    assert read() == []

    with inside(fixtures.acme):
        due = now - timedelta(seconds=30)
        Task.objects.update(due_date=due)
        NotificationPosition.objects.update(overdue_until=now - timedelta(minutes=1))
    assert read() == [("ada", "overdue")]
    assert read() == []
    with inside(fixtures.acme):
        row = Notification.objects.get()
        assert (row.created_at, row.actor) == (due, None)


def test_task_that_is_due_on_a_day_is_overdue_when_the_day_has_ended(fixtures, as_, task, read):
    now = timezone.now()
    today = fixtures.acme.day_of(now)
    as_(fixtures.bob).patch(task, {"due_on": today.isoformat()})
    assert read() == []

    with inside(fixtures.acme):
        Task.objects.update(due_on=today - timedelta(days=1))
        NotificationPosition.objects.update(overdue_until=now - timedelta(days=1))
    assert read() == [("ada", "overdue")]


def test_due_date_in_the_past_that_another_user_sets_notifies_the_assignee(
    fixtures, as_, task, read
):
    yesterday = timezone.now() - timedelta(days=1)
    as_(fixtures.ada).patch(task, {"due_date": yesterday.isoformat()})
    assert read() == []

    as_(fixtures.bob).patch(task, {"due_date": (yesterday - timedelta(1)).isoformat()})
    assert read() == [("ada", "overdue")]


def test_done_and_archived_tasks_do_not_become_overdue(fixtures, as_, task, read):
    as_(fixtures.bob).post(f"{task}/completion")
    with inside(fixtures.acme):
        now = timezone.now()
        Task.objects.update(due_date=now - timedelta(seconds=30))
        NotificationPosition.objects.update(overdue_until=now - timedelta(minutes=1))

    assert read() == []


def test_events_long_before_the_first_run_make_no_notifications(fixtures, as_, task):
    as_(fixtures.ada).patch(task, {"assignee": "@bob"})
    with inside(fixtures.acme):
        Event.objects.update(created_at=timezone.now() - timedelta(days=2))
    as_(fixtures.ada).patch(task, {"assignee": "@carl"})

    run()

    with inside(fixtures.acme):
        rows = Notification.objects.filter(task=fixtures.task)
        assert [row.user.handle for row in rows] == ["carl"]


def test_events_are_read_in_parts_and_none_is_left_out_or_read_twice(
    fixtures, as_, task, read, monkeypatch
):
    monkeypatch.setattr(notifying, "EVENTS", 2)
    for handle in ("bob", "carl", "bob", "carl", "bob"):
        as_(fixtures.ada).patch(task, {"assignee": f"@{handle}"})

    assert has_news(fixtures.acme)
    assert notify_some(fixtures.acme)  # there is more
    assert read() == [("bob", "assigned")] * 3 + [("carl", "assigned")] * 2
    assert not has_news(fixtures.acme)


def test_without_news_nothing_is_written(fixtures, read, django_assert_num_queries):
    read()

    with django_assert_num_queries(5):  # two for the savepoint
        assert not has_news(fixtures.acme)


def test_failure_leaves_the_position_where_it_was(fixtures, as_, task, read, monkeypatch):
    as_(fixtures.ada).patch(task, {"assignee": "@bob"})

    def fail(drafts):
        raise RuntimeError

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(notifying, "store_notifications", fail)
        notify_some(fixtures.acme)

    assert read() == [("bob", "assigned")]


def test_tenants_are_separate(fixtures, as_, read):
    as_(fixtures.mallory).post(
        f"{API}/comments", {"task_id": fixtures.secret_task.pk, "body": "@bob @ada"}
    )

    assert read() == []
