"""The inbox in the API: which notifications a user sees, and marking them as read."""

from __future__ import annotations

import pytest
from django.utils import timezone

from taskflow.tenancy import inside
from tasks.models import Comment, Notification, NotificationPreference, Page
from tasks.models.notifications import MAX_BADGE, count_unread
from tasks.tests.factories import PageFactory

API = "/api/v1/notifications"


@pytest.fixture
def add(fixtures):
    """Store a notification about the task for Bob, or with other values."""

    def add(**values):
        defaults = {"user": fixtures.bob.user, "kind": "assigned", "task": fixtures.task}
        with inside(fixtures.acme):
            return Notification.objects.create(**(defaults | values))

    return add


def ids(answer) -> list[int]:
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["data"]]


def badge(actor) -> int:
    with inside(actor.tenant):
        return count_unread(actor.viewer)


def test_list_has_own_notifications_with_what_they_are_about(fixtures, as_, add):
    add(user=fixtures.ada.user)
    page = PageFactory(actor=fixtures.ada, project=fixtures.apollo, is_published=True)
    about_page = add(task=None, page=page, kind="mentioned")
    about_project = add(task=None, project=fixtures.apollo, kind="mentioned")
    about_task = add(actor=fixtures.ada.user)

    answer = as_(fixtures.bob).get(API)

    assert ids(answer) == [about_task.pk, about_project.pk, about_page.pk]
    first, second, third = answer.json()["data"]
    assert first["task"] == {"id": fixtures.task.pk, "key": "APO-1", "title": "Launch"}
    assert (first["actor"]["handle"], first["read_at"]) == ("ada", None)
    assert second["project"]["key"] == "APO"
    assert third["page"] == {"id": page.pk, "title": page.title}


def test_filters_select_by_kind_and_by_whether_it_is_read(fixtures, as_, add):
    assigned, mentioned = add(), add(kind="mentioned")
    bob = as_(fixtures.bob)
    bob.post(f"{API}/{assigned.pk}/reading")

    assert ids(bob.get(f"{API}?unread=true")) == [mentioned.pk]
    assert ids(bob.get(f"{API}?unread=false")) == [assigned.pk]
    assert ids(bob.get(f"{API}?kind=assigned&kind=overdue")) == [assigned.pk]
    assert bob.get(f"{API}?kind=lost").status_code == 422


def test_what_one_can_no_longer_see_is_not_shown_and_not_counted(fixtures, as_, add):
    about_task = add()
    with inside(fixtures.acme):
        comment = Comment.objects.create(task=fixtures.task, author=fixtures.ada.user, body="@bob")
    about_comment = add(comment=comment, kind="mentioned")
    draft = PageFactory(actor=fixtures.ada, project=fixtures.apollo)
    about_draft = add(task=None, page=draft, kind="mentioned")
    bob = as_(fixtures.bob)
    assert ids(bob.get(API)) == [about_comment.pk, about_task.pk]
    assert badge(fixtures.bob) == 2

    as_(fixtures.ada).delete(f"/api/v1/comments/{comment.pk}")
    with inside(fixtures.acme):
        Page.objects.filter(pk=draft.pk).update(is_published=True, published_at=timezone.now())
    assert ids(bob.get(API)) == [about_draft.pk, about_task.pk]

    as_(fixtures.ada).delete(f"/api/v1/tasks/{fixtures.task.pk}")
    assert ids(bob.get(API)) == [about_draft.pk]
    assert badge(fixtures.bob) == 1
    assert bob.get(f"{API}/{about_task.pk}").status_code == 404


def test_token_shows_the_notifications_of_its_projects(fixtures, as_, add):
    add()
    other = as_(fixtures.bob).post("/api/v1/projects", {"name": "Other"}).json()["id"]
    bound = as_(fixtures.bob, "write", project_ids=[other])

    assert ids(bound.get(API)) == []
    assert bound.post(f"{API}/reading", {}).json() == {"count": 0}
    assert badge(fixtures.bob) == 1


def test_marking_is_repeatable_and_can_be_taken_back(fixtures, as_, add):
    row, bob = add(), as_(fixtures.bob)

    first = bob.post(f"{API}/{row.pk}/reading").json()["read_at"]
    assert first is not None
    assert bob.post(f"{API}/{row.pk}/reading").json()["read_at"] == first
    assert badge(fixtures.bob) == 0
    assert bob.delete(f"{API}/{row.pk}/reading").json()["read_at"] is None
    assert badge(fixtures.bob) == 1


def test_marking_all_leaves_later_ones_unread(fixtures, as_, add):
    first, second, later = add(), add(), add()
    of_ada = add(user=fixtures.ada.user)
    bob = as_(fixtures.bob)

    assert bob.post(f"{API}/reading", {"up_to": second.pk}).json() == {"count": 2}
    assert ids(bob.get(f"{API}?unread=true")) == [later.pk]
    assert bob.post(f"{API}/reading", {}).json() == {"count": 1}
    assert bob.post(f"{API}/reading", {}).json() == {"count": 0}
    assert badge(fixtures.bob) == 0
    assert first.pk
    assert badge(fixtures.ada) == 1
    assert of_ada.pk


def test_dry_run_marks_nothing_and_a_retry_answers_the_same(fixtures, as_, add):
    add()
    bob = as_(fixtures.bob)

    assert bob.post(f"{API}/reading?dry_run=true", {}).json() == {"count": 1}
    assert badge(fixtures.bob) == 1
    for _ in range(2):
        answer = bob.post(f"{API}/reading", {}, headers={"Idempotency-Key": "k"})
        assert answer.json() == {"count": 1}


def test_read_token_cannot_mark(fixtures, as_, add):
    row, reader = add(), as_(fixtures.bob, "read")

    assert ids(reader.get(API)) == [row.pk]
    assert reader.post(f"{API}/{row.pk}/reading").status_code == 403
    assert reader.post(f"{API}/reading", {}).status_code == 403


def test_badge_costs_one_statement_and_counts_to_its_limit(
    fixtures, add, django_assert_num_queries
):
    with inside(fixtures.acme):
        Notification.objects.bulk_create(
            Notification(user=fixtures.bob.user, kind="assigned", task=fixtures.task)
            for _ in range(MAX_BADGE + 5)
        )

    with inside(fixtures.acme), django_assert_num_queries(1):
        assert count_unread(fixtures.bob.viewer) == MAX_BADGE


# ---- preferences --------------------------------------------------------------------------------


def test_preferences_begin_with_everything_and_no_mail(fixtures, as_):
    assert as_(fixtures.bob).get(f"{API}/preferences").json() == {"digest": "off", "muted": []}


def test_preferences_are_changed_one_by_one(fixtures, as_):
    bob = as_(fixtures.bob)

    bob.patch(f"{API}/preferences", {"muted": ["overdue", "assigned", "overdue"]})
    answer = bob.patch(f"{API}/preferences", {"digest": "daily"})

    assert answer.json() == {"digest": "daily", "muted": ["assigned", "overdue"]}
    assert bob.patch(f"{API}/preferences", {}).json() == answer.json()
    assert as_(fixtures.ada).get(f"{API}/preferences").json()["digest"] == "off"
    with inside(fixtures.acme):
        assert NotificationPreference.objects.count() == 1


def test_digest_needs_mail_and_an_address(fixtures, as_, settings):
    assert as_(fixtures.bot).patch(f"{API}/preferences", {"digest": "daily"}).json()["code"] == (
        "no_email"
    )
    settings.SENDS_MAIL = False
    bob = as_(fixtures.bob)

    assert bob.patch(f"{API}/preferences", {"digest": "daily"}).json()["code"] == "email_off"
    assert bob.patch(f"{API}/preferences", {"digest": "off"}).status_code == 200


def test_unknown_preferences_are_refused(fixtures, as_):
    bob = as_(fixtures.bob)

    for body in ({"digest": "hourly"}, {"muted": ["x"]}, {"muted": None}, {"sound": True}):
        assert bob.patch(f"{API}/preferences", body).status_code == 422, body
