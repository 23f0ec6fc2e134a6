"""The time of the last activity: the later of a task's own change and the last one of a comment."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.core.management import call_command

from conftest import ApiClient, build_fixtures, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once
from tasks.actions.comments import ImportedComment, create_comment, import_comments
from tasks.changes.tasks import create_task, update_task
from tasks.models import Comment, Task


def read(client, task="APO-1"):
    return client.get(f"/tasks/{task}").json()


def write(client, task="APO-1", body="x"):
    return client.post("/comments", {"task": task, "body": body}).json()["id"]


def test_comment_moves_the_last_activity_and_nothing_else_of_the_task(fixtures, as_):
    client = as_(fixtures.bob)
    before = read(client)
    assert before["last_activity_at"] == before["updated_at"]

    comment = client.get(f"/comments/{write(client)}").json()

    after = read(client)
    assert after.pop("last_activity_at") >= comment["updated_at"] > before.pop("last_activity_at")
    assert after == before
    with inside(fixtures.acme):
        assert not Event.objects.filter(subject_type="task", subject_id=after["id"]).exclude(
            verb="created"
        )


def test_every_change_of_a_comment_moves_the_last_activity(fixtures, as_):
    client = as_(fixtures.bob)
    pk = write(client)
    undone = {"X-Request-Id": "r-1"}
    changes = [
        lambda: client.patch(f"/comments/{pk}", {"body": "y"}),
        lambda: client.delete(f"/comments/{pk}"),
        lambda: client.post(f"/trash/comment/{pk}/restoration"),
        lambda: client.patch(f"/comments/{pk}", {"body": "z"}, headers=undone),
        lambda: client.post("/undo", {"request_id": "r-1"}),
        lambda: client.patch("/tasks/APO-1", {"title": "New"}),
    ]
    for change in changes:
        before = read(client)["last_activity_at"]
        assert change().status_code < 300
        assert read(client)["last_activity_at"] > before


def test_what_changes_nothing_that_is_visible_does_not_move_the_last_activity(fixtures, as_):
    client = as_(fixtures.ada)
    pk = write(client)
    moved = read(client)["last_activity_at"]

    client.patch(f"/comments/{pk}", {"body": "x"})  # the same text
    client.post("/comments?dry_run=true", {"task": "APO-1", "body": "tried"})
    assert read(client)["last_activity_at"] == moved

    client.delete(f"/comments/{pk}")
    moved = read(client)["last_activity_at"]
    assert client.delete(f"/trash/comment/{pk}").status_code == 204
    assert read(client)["last_activity_at"] == moved


def test_comment_changes_the_etag_but_no_edit_conflicts_with_it(fixtures, as_):
    client = as_(fixtures.ada)
    etag = client.get("/tasks/APO-1").headers["ETag"]

    write(as_(fixtures.bob))

    cached = {"If-None-Match": etag}
    assert client.get("/tasks/APO-1", headers=cached).status_code == 200
    r = client.patch("/tasks/APO-1", {"title": "New"}, headers={"If-Match": etag})
    assert (r.status_code, r.json()["title"]) == (200, "New")
    cached = {"If-None-Match": r.headers["ETag"]}
    assert client.get("/tasks/APO-1", headers=cached).status_code == 304


def test_last_activity_cannot_be_set(fixtures, as_):
    sent = {"last_activity_at": "2026-01-01T00:00:00Z"}

    r = as_(fixtures.ada).patch("/tasks/APO-1", sent)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/last_activity_at")


def test_list_is_sorted_by_last_activity(fixtures, as_):
    client = as_(fixtures.bob)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="newer")
    write(client)

    for sort, keys in {"last_activity_at": ["APO-2", "APO-1"], "-updated_at": ["APO-2", "APO-1"],
                       "-last_activity_at": ["APO-1", "APO-2"]}.items():  # fmt: skip
        tasks = client.get(f"/tasks?project=APO&sort={sort}").json()["data"]
        assert [task["key"] for task in tasks] == keys, sort


def test_imported_comments_move_the_last_activity_of_their_tasks(fixtures):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="other")
        tasks = list(Task.objects.order_by("pk"))
        before = [task.updated_at for task in tasks]

        import_comments(fixtures.boss, [ImportedComment(task, "x") for task in tasks])

        for task, then in zip(tasks, before, strict=True):
            task.refresh_from_db()
            assert task.last_activity_at == task.commented_at > task.updated_at == then


def test_missing_times_are_those_of_the_last_comments(fixtures):
    """Files of the first format have no such column."""
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="without a comment")
        comments = [create_comment(fixtures.bob, fixtures.task, body="x") for _ in range(2)]
        Task.objects.update(commented_at=None)

        Comment.store_missing_times()

        times = Task.objects.order_by("pk").values_list("commented_at", flat=True)
        assert list(times) == [comments[1].updated_at, None]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_comments_written_at_once_on_one_task_are_all_stored():
    live = build_fixtures()
    token = token_of(live.bob)
    comment = {"task": "APO-1", "body": "x"}

    def send():
        return [ApiClient(token).post("/comments", comment) for _ in range(5)]

    responses = [r for part in at_once(send, send, send) for r in part]

    assert [r.status_code for r in responses] == [201] * 15
    last = max(r.json()["updated_at"] for r in responses)
    assert read(ApiClient(token))["last_activity_at"] >= last


@pytest.mark.slow
@pytest.mark.isolation
@pytest.mark.django_db(transaction=True)
def test_columns_of_stored_tasks_of_all_tenants_are_computed_by_the_migrations():
    fixtures = build_fixtures()
    actors = {fixtures.acme: fixtures.ada, fixtures.mallory.tenant: fixtures.mallory}
    comments = {}
    for tenant, actor in actors.items():
        with inside(tenant):
            task = Task.objects.order_by("pk").first()
            update_task(actor, task, due_on=date(2026, 12, 2))
            comments[tenant] = create_comment(actor, task, body="x")

    try:
        call_command("migrate", "tasks", "0007", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)

    for tenant, comment in comments.items():
        with inside(tenant):
            task = Task.objects.get(pk=comment.task_id)
            assert task.last_activity_at == comment.updated_at
            assert task.due == datetime(2026, 12, 2, 11, 59, 59, tzinfo=UTC)
