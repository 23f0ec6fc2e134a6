"""Requests about everything else."""

from __future__ import annotations

from accounts.tests.factories import UserFactory
from taskflow.tenancy import inside
from taskflow.tests.budgets.setup import Request, Setup
from tasks.models import Notification
from tasks.tests.factories import (
    CommentFactory,
    PageFactory,
    ProjectFactory,
    TagFactory,
    TaskFactory,
    ViewFactory,
)


def add_notification(setup: Setup) -> int:
    task = TaskFactory(actor=setup.fixtures.ada, project=setup.fixtures.apollo)
    with inside(setup.fixtures.acme):
        row = Notification(user=setup.fixtures.bob.user, kind="assigned", task=task)
        Notification.objects.bulk_create([row])
    return int(row.pk)


def list_notifications(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        add_notification(setup)
    return lambda: setup.bob.get("/notifications?unread=true")


def get_notification(setup: Setup, rows: int) -> Request:
    pk = add_notification(setup)
    return lambda: setup.bob.get(f"/notifications/{pk}")


def mark_as_read(setup: Setup, rows: int) -> Request:
    pk = add_notification(setup)
    return lambda: setup.bob.post(f"/notifications/{pk}/reading")


def mark_as_unread(setup: Setup, rows: int) -> Request:
    pk = add_notification(setup)
    return lambda: setup.bob.delete(f"/notifications/{pk}/reading")


def mark_all_as_read(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        add_notification(setup)
    return lambda: setup.bob.post("/notifications/reading", {})


def get_preferences(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.get("/notifications/preferences")


def change_preferences(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.patch("/notifications/preferences", {"muted": ["overdue"]})


def list_tags(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        TagFactory(actor=setup.fixtures.ada)
    return lambda: setup.bob.get("/tags")


def create_tag(setup: Setup, rows: int, **headers: str) -> Request:
    return lambda: setup.ada.post("/tags", {"name": "new"}, headers=headers)


def create_tag_with_idempotency_key(setup: Setup, rows: int) -> Request:
    return create_tag(setup, rows, **{"Idempotency-Key": "k"})


def create_tag_again_with_its_key(setup: Setup, rows: int) -> Request:
    request = create_tag_with_idempotency_key(setup, rows)
    request()
    return request


def update_tag(setup: Setup, rows: int) -> Request:
    tag = TagFactory(actor=setup.fixtures.ada)
    setup.add_tasks(rows, tags=[tag.name])
    return lambda: setup.boss.patch(f"/tags/{tag.pk}", {"color": "#aabbcc"})


def delete_tag(setup: Setup, rows: int) -> Request:
    tag = TagFactory(actor=setup.fixtures.ada)
    setup.add_tasks(rows, tags=[tag.name])
    return lambda: setup.boss.delete(f"/tags/{tag.pk}")


def list_views(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        ViewFactory(actor=setup.fixtures.ada, is_shared=True)
    return lambda: setup.bob.get("/views")


def get_view(setup: Setup, rows: int) -> Request:
    view = ViewFactory(actor=setup.fixtures.ada)
    return lambda: setup.ada.get(f"/views/{view.pk}")


def create_view(setup: Setup, rows: int) -> Request:
    body = {"name": "x", "where": {"assignee": ["@bob"]}}
    return lambda: setup.ada.post("/views", body)


def update_view(setup: Setup, rows: int) -> Request:
    view = ViewFactory(actor=setup.fixtures.ada)
    return lambda: setup.ada.patch(f"/views/{view.pk}", {"name": "y"})


def delete_view(setup: Setup, rows: int) -> Request:
    view = ViewFactory(actor=setup.fixtures.ada)
    return lambda: setup.ada.delete(f"/views/{view.pk}")


def list_tasks_of_a_view(setup: Setup, rows: int) -> Request:
    view = ViewFactory(actor=setup.fixtures.ada)
    setup.add_tasks(rows)
    return lambda: setup.ada.get(f"/tasks?view={view.pk}")


def list_comments(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        CommentFactory(actor=setup.fixtures.bob, task=setup.fixtures.task)
    return lambda: setup.bob.get("/comments")


def get_comment(setup: Setup, rows: int) -> Request:
    comment = CommentFactory(actor=setup.fixtures.bob, task=setup.fixtures.task)
    return lambda: setup.bob.get(f"/comments/{comment.pk}")


def create_comment(setup: Setup, rows: int) -> Request:
    body = {"task_id": setup.fixtures.task.pk, "body": "x"}
    return lambda: setup.bob.post("/comments", body)


def update_comment(setup: Setup, rows: int) -> Request:
    comment = CommentFactory(actor=setup.fixtures.bob, task=setup.fixtures.task)
    return lambda: setup.bob.patch(f"/comments/{comment.pk}", {"body": "y"})


def delete_comment(setup: Setup, rows: int) -> Request:
    comment = CommentFactory(actor=setup.fixtures.bob, task=setup.fixtures.task)
    return lambda: setup.bob.delete(f"/comments/{comment.pk}")


def list_pages(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        PageFactory(actor=setup.fixtures.ada, project=setup.fixtures.apollo, is_published=True)
    return lambda: setup.bob.get("/pages")


def add_page(setup: Setup) -> str:
    page = PageFactory(actor=setup.fixtures.bob, project=setup.fixtures.apollo)
    return f"/pages/{page.pk}"


def get_page(setup: Setup, rows: int) -> Request:
    page = add_page(setup)
    return lambda: setup.bob.get(page)


def create_page(setup: Setup, rows: int) -> Request:
    body = {"project_id": setup.fixtures.apollo.pk, "title": "x"}
    return lambda: setup.bob.post("/pages", body)


def update_page(setup: Setup, rows: int) -> Request:
    page = add_page(setup)
    return lambda: setup.bob.patch(page, {"body": "y"})


def delete_page(setup: Setup, rows: int) -> Request:
    page = add_page(setup)
    return lambda: setup.bob.delete(page)


def publish_page(setup: Setup, rows: int) -> Request:
    page = add_page(setup)
    return lambda: setup.bob.post(f"{page}/publication")


def list_trash(setup: Setup, rows: int) -> Request:
    for task in setup.add_tasks(rows):
        setup.bob.delete(f"/tasks/{task.pk}")
    return lambda: setup.bob.get("/trash")


def restore(setup: Setup, rows: int) -> Request:
    top = setup.add_task()
    setup.add_tasks(rows, parent=top, tags=["t"])
    setup.bob.delete(f"/tasks/{top.pk}")
    return lambda: setup.bob.post(f"/trash/task/{top.pk}/restoration")


def purge(setup: Setup, rows: int) -> Request:
    top = setup.add_task()
    setup.add_tasks(rows, parent=top, tags=["t"])
    setup.boss.delete(f"/tasks/{top.pk}")
    return lambda: setup.boss.delete(f"/trash/task/{top.pk}")


def search(setup: Setup, rows: int) -> Request:
    for task in setup.add_tasks(rows, title="fuel"):
        CommentFactory(actor=setup.fixtures.ada, task=task, body="fuel")
    return lambda: setup.bob.get("/search?q=fuel")


def plan_task_change(setup: Setup, rows: int) -> Request:
    planned = {"method": "PATCH", "path": "/api/v1/tasks/APO-1", "body": {"title": "New"}}
    return lambda: setup.ada.post("/plans", planned)


def undo(setup: Setup, rows: int) -> Request:
    tasks, request_id = setup.add_tasks(rows, tags=["t"]), f"request-{rows}"
    values = {"title": "N", "tags": ["a", "b"]}
    operations = [{"op": "update", "id": task.pk, "data": values} for task in tasks]
    operations += [{"op": "complete", "id": task.pk} for task in tasks]
    headers = {"X-Request-Id": request_id}
    setup.ada.post("/tasks/bulk", {"operations": operations}, headers=headers)
    return lambda: setup.ada.post("/undo", {"request_id": request_id})


def offboard_user(setup: Setup, rows: int) -> Request:
    fixtures = setup.fixtures
    user = UserFactory(actor=fixtures.boss)
    for _ in range(rows):
        project = ProjectFactory(actor=fixtures.boss, owner=user)
        TaskFactory(actor=fixtures.boss, project=project, assignee=user)
        PageFactory(actor=fixtures.boss, project=project, owner=user)
    body = {"hand_over_to": fixtures.bob.user.pk}
    return lambda: setup.boss.post(f"/users/{user.pk}/offboarding", body)


def get_tag(setup: Setup, rows: int) -> Request:
    tag = TagFactory(actor=setup.fixtures.ada)
    return lambda: setup.bob.get(f"/tags/{tag.pk}")


def get_index(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.get("/api/v1")


def get_me(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.get("/me")


def update_me(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.patch("/me", {"full_name": "New"})
